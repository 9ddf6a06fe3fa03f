package console

import (
	"context"
	"net/http"
	"time"

	"hearth/domain"
)

const (
	maxStreams    = 32
	eventInterval = time.Second
	heartbeat     = 10 * time.Second // without an event
	eventTimeout  = 10 * time.Second // for one write to a slow reader
)

// event is one of a stream; nil data is none.
type event struct {
	name string
	data []byte
}

// stream answers with server-sent events: what next returns, at once and then once a second, until the client, its session
// or the console ends. An error of the first is the answer; later ones are passed over if it may be well again in a moment.
func (c *Console) stream(w http.ResponseWriter, r *http.Request, s session, next func(ctx context.Context) (event, error)) error {
	select {
	case c.streams <- struct{}{}:
		defer func() { <-c.streams }()
	default:
		return &domain.Error{Code: domain.CodeOverloaded, Message: "this instance shows as much as it can to others", RetryAfter: 5 * time.Second}
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if !s.ends.IsZero() {
		ctx, cancel = context.WithDeadline(ctx, s.ends)
		defer cancel()
	}
	first, err := next(ctx)
	if err != nil {
		return err
	}
	out := newEventWriter(w)
	if err := out.write(first); err != nil {
		return nil //nolint:nilerr // the client is gone
	}
	tick := time.NewTicker(eventInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.closed:
			return nil
		case <-tick.C:
		}
		e, err := next(ctx)
		if err != nil && !domain.CodeOf(err).Retryable() { // such as gone: who asks anew is told so
			return nil
		}
		if err := out.write(e); err != nil {
			return nil //nolint:nilerr // the client is gone
		}
	}
}

// eventWriter writes in the format of server-sent events. Each write has its own deadline: the server's is for a whole
// answer, and would end a stream.
type eventWriter struct {
	w     http.ResponseWriter
	conn  *http.ResponseController
	wrote time.Time
}

func newEventWriter(w http.ResponseWriter) *eventWriter {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // or nginx collects them
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Time{}) // that of the request would end its context; not every ResponseWriter has one
	return &eventWriter{w: w, conn: conn, wrote: time.Now()}
}

// write writes an event, or for none a comment when the last word is long ago, so that a dead reader is noticed.
func (e *eventWriter) write(ev event) error {
	var text []byte
	switch {
	case ev.data != nil:
		text = append(text, "event: "+ev.name+"\ndata: "...)
		text = append(text, ev.data...)
		text = append(text, "\n\n"...)
	case time.Since(e.wrote) >= heartbeat:
		text = []byte(": still here\n\n")
	default:
		return nil
	}
	e.wrote = time.Now()
	_ = e.conn.SetWriteDeadline(e.wrote.Add(eventTimeout)) // as above
	if _, err := e.w.Write(text); err != nil {
		return err
	}
	return e.conn.Flush()
}

func (c *Console) events(w http.ResponseWriter, r *http.Request, s session) error {
	return c.stream(w, r, s, func(ctx context.Context) (event, error) {
		data, err := c.board.get(ctx)
		return event{"overview", data}, err
	})
}
