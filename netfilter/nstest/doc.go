// Package nstest makes throw-away network namespaces for tests. It lives outside internal so that the daemon's tests reach it.
//
// Be aware: a thread is in a namespace, not a process. What a function given to Do starts in other goroutines is outside.
package nstest
