-- Credentials for netlab's own API on machines that labs run on: a user, a password, and the folder of the labs in its config.
set local role switchyard_owner;

alter type switchyard.credential_kind add value 'netlab_api'; -- a user and a password of netlab's API

reset role;
