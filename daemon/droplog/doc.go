// Package droplog reads the packets that rules log from the kernel's log group and writes a line for each.
package droplog
