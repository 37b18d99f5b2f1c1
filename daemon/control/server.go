package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"ringwall/daemon/enforce"
)

// Service is what the daemon does for its clients. Its methods are called from many goroutines.
type Service interface {
	Hello() Hello
	Status(ctx context.Context) (*Status, error)
	Show(ctx context.Context) (*enforce.Page, error)
	Apply(ctx context.Context, req *PolicyRequest) (*enforce.Report, error)
	DryRun(ctx context.Context, req *PolicyRequest) (*enforce.Report, error)
	Reload(ctx context.Context) (*enforce.Report, error)
	Ban(ctx context.Context, req enforce.BanRequest) (*enforce.BanReport, error)
	Unban(ctx context.Context, req UnbanRequest) (*enforce.BanReport, error)
	Bans(ctx context.Context, req BansRequest) ([]enforce.Ban, error)
	TakeDown(ctx context.Context) error
	Confirm(ctx context.Context, req ConfirmRequest) (*enforce.Report, error)
	Rollback(ctx context.Context, req RollbackRequest) (*enforce.Report, error)
	History(ctx context.Context) ([]enforce.Past, error)
	Metrics() http.Handler
	Observing
}

// The bounds of what a client may take: a policy comes with its list files.
const (
	maxRequest   = 128 << 20 // bytes of a body
	maxJSON      = 16 << 20  // of it that are no contents of files
	maxQuestion  = 64 << 10  // of one that those send too who may only read
	maxHeader    = 8 << 10
	readTimeout  = 30 * time.Second
	writeTimeout = 5 * time.Minute // of which most is the daemon's work
	questionTime = 2 * time.Minute // of which most is waiting while a large policy is applied
)

// Server answers on one socket.
type Server struct {
	*socket
	http *http.Server
	log  *slog.Logger
}

// Serve answers until Close. It returns nil once closed.
func (s *Server) Serve(svc Service) error {
	s.http.Handler = s.routes(svc)
	if err := s.http.Serve(&limited{Listener: s.listener, access: s.accessOf}); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("control socket %s: %w", s.path, err)
	}
	return nil
}

// Close takes the socket away, lets running requests end for a moment, and frees the path.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		s.http.Close()
	}
	return s.socket.close()
}

// routes gives each path its method, the access it takes, and its handler.
func (s *Server) routes(svc Service) http.Handler {
	mux := http.NewServeMux()
	handle := func(method, path string, need access, h http.Handler) {
		mux.Handle(path, s.guard(method, need, h))
	}
	handle(http.MethodGet, pathHello, reads, get(func(context.Context) (Hello, error) { return svc.Hello(), nil }))
	handle(http.MethodGet, pathStatus, reads, get(svc.Status))
	handle(http.MethodGet, pathShow, reads, get(svc.Show))
	handle(http.MethodGet, pathMetrics, reads, svc.Metrics())
	handle(http.MethodPost, pathBans, reads, post(svc.Bans))
	handle(http.MethodPost, pathDryRun, writes, post(func(ctx context.Context, r PolicyRequest) (*enforce.Report, error) {
		return svc.DryRun(ctx, &r)
	}))
	handle(http.MethodPost, pathApply, writes, post(func(ctx context.Context, r PolicyRequest) (*enforce.Report, error) {
		return svc.Apply(ctx, &r)
	}))
	handle(http.MethodPost, pathReload, writes, post(func(ctx context.Context, _ struct{}) (*enforce.Report, error) {
		return svc.Reload(ctx)
	}))
	handle(http.MethodGet, pathHistory, reads, get(svc.History))
	handle(http.MethodPost, pathConfirm, writes, post(svc.Confirm))
	handle(http.MethodPost, pathRollback, writes, post(svc.Rollback))
	handle(http.MethodPost, pathBan, writes, post(svc.Ban))
	handle(http.MethodPost, pathUnban, writes, post(svc.Unban))
	handle(http.MethodPost, pathTakeDown, writes, post(func(ctx context.Context, _ struct{}) (struct{}, error) {
		return struct{}{}, svc.TakeDown(ctx)
	}))
	observing(svc, handle)
	return s.entrance(mux)
}

// entrance refuses whoever may not even read, should one have got past the listener, before anything about the request is looked at.
func (s *Server) entrance(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(versionHeader, Version)
		p, ok := r.Context().Value(peerKey{}).(Peer)
		if !ok || s.accessOf(p) < reads {
			fail(w, http.StatusForbidden, "not allowed")
			return
		}
		if v := r.Header.Get(versionHeader); v != "" && v != Version {
			fail(w, http.StatusBadRequest, fmt.Sprintf("the daemon speaks version %s of the control protocol, not %q", Version, v))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// guard lets through the right method by those who have the access it needs.
func (s *Server) guard(method string, need access, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != method {
			w.Header().Set("Allow", method)
			fail(w, http.StatusMethodNotAllowed, "wrong method")
			return
		}
		p, _ := r.Context().Value(peerKey{}).(Peer)
		if s.accessOf(p) < need {
			fail(w, http.StatusForbidden, "only root may do that")
			return
		}
		limit, within := int64(maxQuestion), questionTime
		if need == writes {
			limit, within = maxRequest, writeTimeout
			s.log.Info("request", "path", r.URL.Path, "uid", p.UID, "pid", p.PID)
		}
		ctx, cancel := context.WithTimeout(r.Context(), within)
		defer cancel()
		r = r.WithContext(ctx) // a copy: after a refusal the server waits for the rest of a body that it does not know as its own
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		next.ServeHTTP(w, r)
	})
}

// get makes a handler of a question without arguments.
func get[Out any](ask func(context.Context) (Out, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out, err := ask(r.Context())
		answer(w, out, err)
	})
}

// post makes a handler of a request whose arguments are its body.
func post[In, Out any](do func(context.Context, In) (Out, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in In
		dec := json.NewDecoder(http.MaxBytesReader(w, io.NopCloser(r.Body), maxJSON))
		dec.DisallowUnknownFields()
		err := dec.Decode(&in)
		if h, ok := any(&in).(handover); ok && err == nil {
			err = h.take(io.MultiReader(dec.Buffered(), r.Body))
		}
		if err != nil {
			status := http.StatusBadRequest
			if tooBig := (*http.MaxBytesError)(nil); errors.As(err, &tooBig) {
				status = http.StatusRequestEntityTooLarge
			}
			fail(w, status, "request: "+err.Error())
			return
		}
		out, err := do(r.Context(), in)
		answer(w, out, err)
	})
}

// answer writes what came of a request.
func answer(w http.ResponseWriter, out any, err error) {
	if err != nil {
		fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	body, err := json.Marshal(out)
	if err != nil {
		fail(w, http.StatusInternalServerError, "answer: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(body, '\n')) // a client that went away is no concern of ours
}

// fail writes a failure.
func fail(w http.ResponseWriter, status int, text string) {
	body, err := json.Marshal(failure{Error: text})
	if err != nil {
		body = []byte("{}")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}
