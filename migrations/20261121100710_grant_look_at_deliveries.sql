-- Who wrote deliveries over a connection that broke looks up whether they are there, and as what.
set local role switchyard_owner;

grant select (first_id) on switchyard.deliveries to switchyard_system;

reset role;
