package nstest

import (
	"os"
	"testing"
)

// Missing ends a test for want of something that the machine should have: it is skipped, or fails where the environment says CI=true.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
