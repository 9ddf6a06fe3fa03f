package transport

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"hearth/domain"
	"hearth/transport/wire"
)

// boardInterval is the time between two rankings for one connection.
const boardInterval = time.Second

// Ranking lists groups by heat.
type Ranking interface {
	Page(ctx context.Context, actor domain.Actor, q domain.HotQuery) (*domain.HotPage, error)
}

// boards shows the ranking of rooms to the connections that watch it. A goroutine, which is there only while somebody
// watches, asks for it once in a round; all connections with the same limit get the same bytes.
type boards struct {
	ranking Ranking
	window  time.Duration
	log     zerolog.Logger
	work    sync.WaitGroup // the goroutine; Server.Close waits for it
	wake    chan struct{}  // nobody watches any more

	mu       sync.Mutex // guards what follows; comes before Conn.mu, and is not held while the ranking is asked for
	watchers map[*Conn]*watcher
	running  bool
	rounds   int
	over     time.Time          // when the last round was
	cancel   context.CancelFunc // of the round's question; nil between them
	failing  bool
	page     *domain.HotPage // the last answer; nil before
	boards   map[int]board   // of page, by limit
	changes  int             // of boards so far
}

// watcher is a connection that watches, or has just stopped to.
type watcher struct {
	limit int // 0: it stopped, and is forgotten in a round that is its: coming back brings no board sooner
	from  int // the first round that is its
	seen  int // change of the board it has
}

// board is what those with one limit see.
type board struct {
	first  *domain.HotPage
	event  []byte
	change int // since which a client would see no difference
}

func newBoards(ranking Ranking, window time.Duration, log zerolog.Logger) *boards {
	return &boards{
		ranking: ranking, window: window, log: log,
		wake: make(chan struct{}, 1), watchers: make(map[*Conn]*watcher), boards: make(map[int]board),
	}
}

// watch shows the first so many ranks to a connection from now on.
func (b *boards) watch(c *Conn, limit int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w := b.watchers[c]; w != nil {
		w.limit, w.seen = limit, 0 // it waits for its round
		return
	}
	w := &watcher{limit: limit}
	b.watchers[c] = w
	if b.page != nil && time.Since(b.over) < boardInterval { // its first board comes at once, then none in the round that is next
		w.from = b.rounds + 2
		b.show(c, w)
	}
	if !b.running {
		b.running = true
		b.work.Go(b.run)
	}
}

// unwatch shows a connection nothing more.
func (b *boards) unwatch(c *Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w := b.watchers[c]; w != nil {
		w.limit = 0
	}
}

// drop forgets a connection that is gone.
func (b *boards) drop(c *Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.watchers[c] == nil {
		return
	}
	delete(b.watchers, c)
	if len(b.watchers) > 0 {
		return
	}
	if b.cancel != nil {
		b.cancel()
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// run makes a round a second until nobody watches.
func (b *boards) run() {
	next := time.NewTimer(b.untilNext())
	defer next.Stop()
	for {
		select {
		case <-b.wake:
		case <-next.C:
			b.round()
			next.Reset(b.untilNext())
		}
		if b.idle() {
			return
		}
	}
}

// untilNext is the time to the next round: however often watching begins and ends, they are an interval apart.
func (b *boards) untilNext() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Until(b.over.Add(boardInterval))
}

func (b *boards) idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running = len(b.watchers) > 0
	return !b.running
}

// round asks for the ranking, if somebody watches, and shows it to those for whom it has changed.
func (b *boards) round() {
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	var page *domain.HotPage
	var err error
	watched := b.begin(cancel)
	if watched {
		page, err = b.ranking.Page(ctx, domain.Actor{}, domain.HotQuery{Limit: domain.MaxWatchedHot})
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cancel, b.over = nil, time.Now()
	if !watched || errors.Is(ctx.Err(), context.Canceled) { // the last one went while we asked; others may have come since
		b.page, b.boards = nil, make(map[int]board)
		return
	}
	b.tell(err)
	if err != nil {
		return
	}
	b.turn(page)
	for c, w := range b.watchers {
		if w.limit > 0 && w.from <= b.rounds {
			b.show(c, w)
		}
	}
}

// begin forgets who stopped watching, and reports whether anybody is left.
func (b *boards) begin(cancel context.CancelFunc) (watched bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rounds++
	for c, w := range b.watchers {
		if w.limit == 0 && w.from <= b.rounds {
			delete(b.watchers, c)
		}
		watched = watched || w.limit > 0
	}
	b.cancel = cancel
	return watched
}

// tell logs that the ranking cannot be had, and that it can again; b.mu is held.
func (b *boards) tell(err error) {
	switch {
	case err != nil && !b.failing:
		b.log.Warn().Err(err).Msg("ranking not shown to those who watch it, trying again")
	case err == nil && b.failing:
		b.log.Info().Msg("ranking shown again to those who watch it")
	}
	b.failing = err != nil
}

// turn puts the boards that somebody watches in line with a new page; b.mu is held.
func (b *boards) turn(page *domain.HotPage) {
	before := b.boards
	b.page, b.boards = page, make(map[int]board)
	for _, w := range b.watchers {
		if _, drawn := b.boards[w.limit]; w.limit > 0 && !drawn {
			b.boards[w.limit] = b.draw(w.limit, before[w.limit])
		}
	}
}

// draw makes the board of a limit; b.mu is held.
func (b *boards) draw(limit int, before board) board {
	first := b.page.First(limit)
	drawn := board{first: first, event: wire.AppendHot(nil, first, b.window), change: before.change}
	if before.first == nil || !looksSame(first, before.first) {
		b.changes++
		drawn.change = b.changes
	}
	return drawn
}

// looksSame leaves out the snapshot and its time, which are others whatever has happened.
func looksSame(a, b *domain.HotPage) bool {
	return slices.Equal(a.Entries, b.Entries) && (a.Cursor == "") == (b.Cursor == "")
}

// show queues the board for a connection, unless it has seen that; b.mu is held.
func (b *boards) show(c *Conn, w *watcher) {
	shown, drawn := b.boards[w.limit]
	if !drawn {
		shown = b.draw(w.limit, board{})
		b.boards[w.limit] = shown
	}
	if w.seen != shown.change {
		w.seen = shown.change
		c.showBoard(shown.event)
	}
}
