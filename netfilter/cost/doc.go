// Package cost measures what a packet costs on its way through a rule set, and sees which packets come through.
//
// The kernel itself makes the packets: a BPF program writes one frame after the other, and the kernel hands each to the receive
// path of an interface, as if it had come by wire. So there is no sender whose work would be measured too, and all of it happens
// in the calling thread, whose CPU time is the measure.
//
// Be aware: what matters is compared within one run only. Machines differ, and so does one machine from hour to hour.
package cost
