package daemon

import (
	"log/slog"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// Systemd tells the service manager that started this process, for Config.Notify. Without one it does nothing.
func Systemd(log *slog.Logger) func(state string) {
	return func(state string) {
		if _, err := sd.SdNotify(false, state); err != nil {
			log.Debug("service manager", "error", err)
		}
	}
}
