// Package hostile holds tests alone: policies made to hurt whoever reads them, each run the whole way that a user's
// file takes, from the host's files to what a terminal shows, with the memory and the time measured that it costs.
package hostile
