// Package nstest makes throw-away network namespaces for tests. It lives outside internal so that the daemon's tests reach it.
package nstest
