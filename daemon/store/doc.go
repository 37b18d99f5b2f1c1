// Package store is the state directory: what the daemon must know again after a reboot.
//
// It holds the last good policy and those before it, a change that is not confirmed, the text of the emergency policy, the
// bans and the policies that are refused, each in a file of its own that is replaced whole and carries a digest. Be
// aware: reading needs no lock, writing does.
package store
