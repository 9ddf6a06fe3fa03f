package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"
)

// listener is one HTTP server on one address.
type listener struct {
	server *http.Server
	ln     net.Listener
	failed chan error // the reason why it ended by itself
}

// listen opens the address; serve starts answering.
func listen(addr string, h http.Handler, log zerolog.Logger) (*listener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return newListener(ln, h, log), nil
}

func newListener(ln net.Listener, h http.Handler, log zerolog.Logger) *listener {
	return &listener{
		ln: ln,
		server: &http.Server{
			Handler:           h,
			ReadHeaderTimeout: 10 * time.Second,
			ReadTimeout:       30 * time.Second,
			WriteTimeout:      60 * time.Second,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    32 << 10,
			ErrorLog:          newStdLogger(log),
		},
		failed: make(chan error, 1),
	}
}

func (l *listener) addr() string { return l.ln.Addr().String() }

func (l *listener) serve() {
	go func() {
		if err := l.server.Serve(l.ln); !errors.Is(err, http.ErrServerClosed) {
			l.failed <- err
		}
	}()
}

// lastRequests is how long requests under way may still take when the instance leaves: as long as a connection's ops.
const lastRequests = 3 * time.Second

// shutdown refuses new requests and waits for those under way, then cuts off what is left: uploads and downloads may take
// minutes, and all that comes behind them has to end in time, too. WebSockets are not its business.
func (l *listener) shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lastRequests)
	defer cancel()
	err := l.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return l.server.Close()
	}
	return err
}
