// Package host is the machine around the firewall: its interfaces, accounts, connections and network namespace.
//
// Be aware: the kernel answers for a network namespace, and a namespace belongs to a thread. A Host asks about the
// namespace of the thread that opened it, from whichever goroutine it is used later.
package host
