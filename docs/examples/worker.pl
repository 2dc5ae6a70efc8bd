use strict;
use warnings;
use ZMQ::FFI;
use ZMQ::FFI::Constants 'ZMQ_DEALER';

my $app = sub { uc shift };    # the app that Net::Server::ZMQ had

my $context = ZMQ::FFI->new;
my $broker  = $context->socket(ZMQ_DEALER);
$broker->set_identity("child_$$");
$broker->connect('tcp://127.0.0.1:6661');
$broker->send_multipart(['', 'waiting']);
while (1) {
    my (undef, $request, undef, @body) = $broker->recv_multipart;
    $broker->send_multipart(['', 'processing']);
    my @reply = eval { $app->(@body) };
    if ($@) {
        $broker->send_multipart(['', $request, 'error', 'app-error', "$@"]);
    } else {
        $broker->send_multipart(['', $request, '', @reply]);
    }
    $broker->send_multipart(['', 'waiting']);
}
