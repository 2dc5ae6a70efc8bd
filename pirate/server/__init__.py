"""
The running server: it joins the broker and the pool to the transport and to the workers' processes.

It knows the transport by its interfaces only.  At import it loads neither ZeroMQ nor the reactor, because twistd
imports it before it becomes a daemon.

May import: ``errors``, ``wire``, ``settings``, ``broker``, ``pool``, ``auth.policy``, ``transport.interfaces``,
``hooks``, ``worker.imports``, ``worker.startup``; inside functions only, ``client.codecs``, ``client.errors``,
``service``.  May be imported by: ``service``, ``twistd`` (only ``descriptors``), ``testing`` (only ``interfaces``,
``logs``, ``environment``, ``running``); inside functions only, ``tap`` (only ``logs``).
"""
