package console

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"hearth/domain"
)

const (
	eventInterval = time.Second
	heartbeat     = 10 * time.Second // without an event
	eventTimeout  = 10 * time.Second // for one write to a slow reader
)

// event is one of a stream.
type event struct {
	name string
	data []byte
}

// stream answers with server-sent events: what next returns, at once and then once a second, until the client, its session
// or the console ends. An error of the first is the answer; later ones are passed over if it may be well again in a moment.
func (c *Console) stream(w http.ResponseWriter, r *http.Request, s session, next func(ctx context.Context) ([]event, error)) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	leave, err := c.streams.enter(s.owner(), cancel)
	if err != nil {
		return err
	}
	defer leave()
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
		if c.isLoggedOut(ctx, s) { // at another instance
			return nil
		}
		events, err := next(ctx)
		if err != nil && !domain.CodeOf(err).Retryable() { // such as gone: who asks anew is told so
			return nil
		}
		if err := out.write(events); err != nil {
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

// write writes events, or for none a comment when the last word is long ago, so that a dead reader is noticed.
func (e *eventWriter) write(events []event) error {
	var text []byte
	for _, ev := range events {
		text = append(text, "event: "+ev.name+"\ndata: "...)
		text = append(text, ev.data...)
		text = append(text, "\n\n"...)
	}
	switch {
	case text != nil:
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

// events shows the overview, and with group a group as it goes beside it: browsers have six connections to a server.
func (c *Console) events(w http.ResponseWriter, r *http.Request, s session) error {
	var room *follower
	if group := r.URL.Query().Get("group"); group != "" {
		var err error
		if room, err = c.follow(r, s, group); err != nil {
			return err
		}
	}
	return c.stream(w, r, s, func(ctx context.Context) ([]event, error) {
		data, err := c.board.get(ctx)
		if err != nil {
			return nil, err
		}
		shown := []event{{"overview", data}}
		if room == nil || !c.store("redis").OK { // waiting for it would make the overview old
			return shown, nil
		}
		page, err := room.look(ctx)
		if err != nil && !domain.CodeOf(err).Retryable() {
			room, page = nil, []event{refusal(err)}
		}
		return append(shown, page...), nil
	})
}

// refusal tells that a group is shown no further.
func refusal(err error) event {
	e := domain.AsError(err)
	data, _ := json.Marshal(struct { // two strings
		Code   domain.Code `json:"code"`
		Detail string      `json:"detail"`
	}{e.Code, e.Message})
	return event{"refused", data}
}
