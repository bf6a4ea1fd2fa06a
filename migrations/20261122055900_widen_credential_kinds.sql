-- Credentials for machines that are signed in to over SSH: a user, a private key, and the host's own keys in its config.
set local role switchyard_owner;

alter type switchyard.credential_kind add value 'ssh'; -- a user and a private key of a machine

reset role;
