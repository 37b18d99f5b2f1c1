// Package watch tells when the files that a policy was read from may have changed.
//
// It watches directories, never files: the ones that hold the files, the ones on the way to them, those of symlinks,
// and the parents of what does not exist yet. Be aware: a signal says "look again", not "it changed"; the reader compares.
package watch
