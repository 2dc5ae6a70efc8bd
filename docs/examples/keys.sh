pirate-keygen server alice bob remote
mkdir clients workers
mv alice.key bob.key clients
mv remote.key workers
