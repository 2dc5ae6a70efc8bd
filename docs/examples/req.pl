use ZMQ::FFI; use ZMQ::FFI::Constants 'ZMQ_REQ';
my $context = ZMQ::FFI->new;
my $server = $context->socket(ZMQ_REQ);
$server->connect('tcp://127.0.0.1:6660');
$server->send('Ahoy!'); print $server->recv, "\n";
