// Package kernel carries a ruleset.Ruleset to the kernel's nf_tables and back, over one netlink socket.
//
// Be aware: a table's ownership belongs to the socket of a Conn, not to the process. While a Conn owns the table every other
// socket gets EPERM, another Conn of the same process included, and for validation too. Closing the Conn leaves the rules in
// place where the kernel keeps persistent tables (6.9), and for tables without an owner.
package kernel
