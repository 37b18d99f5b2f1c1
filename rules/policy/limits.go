package policy

// GCPercent is the percentage of the garbage collector (debug.SetGCPercent) with which what a load takes stays within
// 64 MB and 40 bytes for each byte that it reads: a program that reads policies of others sets it.
const GCPercent = 50

// The limits of a policy. What exceeds one is refused with an error that states it.
const (
	maxListBytes   = 64 << 20  // all list files of addresses together
	maxFiles       = 4096      // policy files, and list files
	maxIncludes    = 16_384    // names that include comes to in all files, the same ones again counted
	maxGlobs       = 256       // patterns of include in all files
	maxPath        = 4095      // bytes of a path in a policy, as on Linux
	maxFindings    = 1000      // mistakes, and as many warnings
	maxInclude     = 32        // includes within includes
	maxNesting     = 64        // sets within sets, likewise services and groups
	maxRules       = 100_000   // in all lists
	maxTerms       = 64        // cases of an address list that dynamic sets make
	maxFailsafe    = 10_000    // address ranges of all failsafe entries
	maxName        = 48        // characters of a name
	maxLogText     = 64        // characters of a rule's log text
	maxNote        = 1000      // characters of a note
	maxDynamic     = 16 << 20  // entries of a dynamic set
	maxRate        = 1_000_000 // packets a unit of a limit, and its burst
	maxConnections = 1 << 30   // of a rule
	maxListErrors  = 10        // findings printed for one list file
)
