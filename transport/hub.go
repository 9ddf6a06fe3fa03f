package transport

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"hearth/domain"
)

// Channels is the pub/sub side of fan-out.
type Channels interface {
	// Subscribe asks for groups' channels and does not wait; Hub.Confirmed is called for each when it is there, and
	// again after a break.
	Subscribe(groups []string)
	Unsubscribe(groups []string)
	// SubscribeUser asks for a user's channel and does not wait; Hub.UserNotes is called when it is there, and again
	// after a break.
	SubscribeUser(user string)
	UnsubscribeUser(user string)
	// Flowing reports whether what is published arrives here.
	Flowing() bool
}

// Hub knows the connections of this instance and the feed of every group that one of them follows. It takes what
// the subscriber receives.
type Hub struct {
	history    *domain.History
	notes      domain.Notes
	watermarks *domain.Watermarks
	journal    *domain.Journal
	clock      Clock
	channels   Channels
	log        zerolog.Logger
	metrics    *metrics

	// mu guards what follows. Lock order: Hub.mu, feed.mu, boards.mu, Conn.mu, and last what Channels locks for itself; none is
	// held during I/O.
	mu       sync.Mutex
	feeds    map[string]*feed
	accounts map[string]*account // by user
	conns    map[*Conn]struct{}
	closing  bool

	work    sync.WaitGroup // repairs under way; Close waits for them
	repairs chan struct{}  // bounds how many ask the stores at once: after a break all feeds want to
}

const (
	maxRepairs    = 32
	tailInterval  = 3 * time.Second
	tailTimeout   = 2 * time.Second       // of one look at some heads
	pollInterval  = time.Second           // of the heads while pub/sub brings nothing
	maxClosePause = 20 * time.Millisecond // between closes: few connections need no long spread
)

// NewHub makes a hub; UseChannels completes it.
func NewHub(history *domain.History, notes domain.Notes, watermarks *domain.Watermarks, journal *domain.Journal, clock Clock, log zerolog.Logger, m *metrics) *Hub {
	return &Hub{
		history: history, notes: notes, watermarks: watermarks, journal: journal, clock: clock, log: log, metrics: m,
		feeds:    make(map[string]*feed),
		accounts: make(map[string]*account),
		conns:    make(map[*Conn]struct{}),

		repairs: make(chan struct{}, maxRepairs),
	}
}

// UseChannels tells the hub where to subscribe: the subscriber itself is made with the hub as its handler.
func (h *Hub) UseChannels(c Channels) { h.channels = c }

// Published hands a message to the feed of its group.
func (h *Hub) Published(p domain.Push) {
	if f := h.feed(p.Group); f != nil {
		f.push(p)
	}
}

// Noticed hands an event to the subscribers of a group.
func (h *Hub) Noticed(group string, n domain.Notice) {
	if f := h.feed(group); f != nil {
		f.noticed(n)
	}
}

// Confirmed tells the feed of a group that its channel is there.
func (h *Hub) Confirmed(group string) {
	if f := h.feed(group); f != nil {
		f.confirmed()
	}
}

// Persisted tells waiting sends, and the journal, that a group's rows are committed.
func (h *Hub) Persisted(group string, gen, seq int64) {
	h.watermarks.Raise(group, gen, seq)
	h.journal.Committed(group, gen, seq)
}

// Refused tells who waits for a message's row that there will be none.
func (h *Hub) Refused(group string, gen, seq int64) { h.watermarks.Fail(group, gen, seq) }

func (h *Hub) feed(group string) *feed {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.feeds[group]
}

// follow counts a connection in on the feeds of groups and subscribes the channels that are new here.
func (h *Hub) follow(ctx context.Context, groups []string) []*feed {
	feeds := make([]*feed, len(groups))
	var fresh []string
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, group := range groups {
		f := h.feeds[group]
		if f == nil {
			f = newFeed(ctx, h, group)
			h.feeds[group] = f
			fresh = append(fresh, group)
		}
		f.followers++
		feeds[i] = f
	}
	if len(fresh) > 0 {
		h.channels.Subscribe(fresh)
	}
	h.metrics.groups.Set(float64(len(h.feeds)))
	return feeds
}

// unfollow counts a connection out and gives up the channels that nobody follows any more.
func (h *Hub) unfollow(feeds ...*feed) {
	var idle []string
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range feeds {
		if f.followers--; f.followers == 0 {
			delete(h.feeds, f.group)
			f.end()
			idle = append(idle, f.group)
		}
	}
	if len(idle) > 0 {
		h.channels.Unsubscribe(idle)
	}
	h.metrics.groups.Set(float64(len(h.feeds)))
}

// add takes a connection in, unless the hub is closing.
func (h *Hub) add(c *Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		return false
	}
	h.conns[c] = struct{}{}
	h.signIn(c)
	h.metrics.connections.Set(float64(len(h.conns)))
	return true
}

func (h *Hub) isClosing() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closing
}

func (h *Hub) remove(c *Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, c)
	h.signOut(c)
	h.metrics.connections.Set(float64(len(h.conns)))
}

// Run looks at the heads of the followed groups and at the notes of the users again and again, until ctx is done: a
// lost push shows in the next one of its group, but the last one has none behind it. While pub/sub brings nothing,
// this is how messages come.
func (h *Hub) Run(ctx context.Context) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	checked := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		flowing := h.channels.Flowing()
		if flowing && time.Since(checked) < tailInterval {
			continue
		}
		checked = time.Now()
		err := errors.Join(h.checkNotes(ctx), h.checkTails(ctx, !flowing))
		if err != nil && ctx.Err() == nil {
			h.log.Warn().Err(err).Msg("tails not compared with the heads")
		}
	}
}

// checkTails compares the feeds with the heads, some at a time: what fails for some is told at the end.
func (h *Hub) checkTails(ctx context.Context, atOnce bool) (err error) {
	for feeds := range slices.Chunk(h.all(), domain.MaxSyncGroups) {
		err = errors.Join(err, h.checkSome(ctx, feeds, atOnce))
	}
	return err
}

func (h *Hub) checkSome(ctx context.Context, feeds []*feed, atOnce bool) error {
	ctx, cancel := context.WithTimeout(ctx, tailTimeout)
	defer cancel()
	groups := make([]string, len(feeds))
	for i, f := range feeds {
		groups[i] = f.group
	}
	heads, err := h.history.HeadsOf(ctx, groups)
	if err != nil {
		return err
	}
	for i, f := range feeds {
		switch code := domain.CodeOf(heads[i].Err); {
		case heads[i].Err == nil:
			f.checkTail(&heads[i].Head, atOnce)
		case code == domain.CodeGone || code == domain.CodeNotFound:
			f.gone()
		}
	}
	return nil
}

func (h *Hub) all() []*feed {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Values(h.feeds))
}

// Online counts the distinct users connected to each group here.
func (h *Hub) Online() map[string]int {
	feeds := h.all()
	counts := make(map[string]int, len(feeds))
	for _, f := range feeds {
		if n := len(f.users()); n > 0 {
			counts[f.group] = n
		}
	}
	return counts
}

// Drain refuses new connections and closes those there are, spread over at most the time given, each with a time of
// its own to reconnect. It returns when all are closed; what is left when ctx is done is cut off.
func (h *Hub) Drain(ctx context.Context, spread time.Duration) {
	h.mu.Lock()
	h.closing = true
	conns := make([]*Conn, 0, len(h.conns))
	for c := range h.conns {
		conns = append(conns, c)
	}
	h.mu.Unlock()
	pause := min(spread/time.Duration(max(1, len(conns))), maxClosePause)
	for _, c := range conns {
		c.leave(domain.CloseShuttingDown, "shutting down")
		waitOrDone(ctx, pause)
	}
	for _, c := range conns {
		select {
		case <-c.done:
		case <-ctx.Done():
			c.abort()
			<-c.done
		}
	}
}

func waitOrDone(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// Close waits for what the hub still does. All connections are closed before.
func (h *Hub) Close() { h.work.Wait() }
