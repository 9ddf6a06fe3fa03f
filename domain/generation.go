package domain

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Observed is what a partition's Redis server says of itself.
type Observed struct {
	Gen      int64  // generation set there; 0: none
	Server   string // the server it was raised on, as stored beside it
	Identity string // the server that answered: its master_replid, new at every start and promotion
}

// Generation is a partition's row in MySQL.
type Generation struct {
	Gen     int64 // never falls
	Server  string
	Settled int64 // the highest generation that may accept appends; rows of older ones are refused from then on
}

// Agrees reports whether Redis is still in the history that this row names.
func (g Generation) Agrees(o Observed) bool {
	return g.Gen > 0 && o.Gen == g.Gen && o.Server == g.Server && o.Identity == g.Server
}

// GenerationCache is the Redis side of generations.
type GenerationCache interface {
	Observe(ctx context.Context, partition int) (Observed, error)
	// SetGeneration sets gen if it is higher and the server still has this identity; it reports whether gen is
	// now the one that is set.
	SetGeneration(ctx context.Context, partition int, gen int64, identity string) (bool, error)
}

// GenerationStore is the MySQL side of generations.
type GenerationStore interface {
	// Renew locks the partition's row, observes Redis, and raises the generation unless the two agree.
	Renew(ctx context.Context, partition int, observe func(context.Context) (Observed, error)) (Generation, error)
	// Unflushed is the partition's row, and the living instances that have not reported that their journals of what is
	// older than gen are written.
	Unflushed(ctx context.Context, partition int, gen int64) (row Generation, instances []string, err error)
	// Settle lets gen accept appends, and nothing older be inserted any more. It fails with ErrOvertaken when gen is
	// not the row's.
	Settle(ctx context.Context, partition int, gen int64) error
}

// Flusher closes the generations before gen in this instance: what it acknowledged or showed of them is written to
// MySQL, which is reported there; what they still have to say is not believed.
type Flusher interface {
	Flush(ctx context.Context, partition int, gen int64) error
}

// Drainer writes what logs of generations before gen still hold in a partition's Redis to MySQL.
type Drainer interface {
	Drain(ctx context.Context, partition int, gen int64) error
}

// Generations knows the generation of every partition. Of is for the hot path: one atomic load.
type Generations struct {
	current  []atomic.Int64
	flushed  []atomic.Int64  // below it everything is closed and written
	flushing []chan struct{} // holds one while the partition is flushed
	mu       sync.Mutex      // guards renewals; never held while Redis and MySQL are asked
	renewals []*renewal      // the one that is under way, per partition
	quarrels []quarrel       // per partition; of its renewal alone
	cache    GenerationCache
	store    GenerationStore
	flusher  Flusher
	drainer  Drainer
	raised   func(partition int, gen int64) // called when a generation becomes current; may be nil
}

// renewal is one attempt; err is set when done is closed.
type renewal struct {
	done chan struct{}
	err  error
}

// NewGenerations knows no generation yet: every partition is at 0 until its first Renew.
func NewGenerations(n Partitions, cache GenerationCache, store GenerationStore, flusher Flusher, drainer Drainer, raised func(int, int64)) *Generations {
	g := &Generations{
		current:  make([]atomic.Int64, n),
		flushed:  make([]atomic.Int64, n),
		flushing: make([]chan struct{}, n),
		renewals: make([]*renewal, n),
		quarrels: make([]quarrel, n),
		cache:    cache,
		store:    store,
		flusher:  flusher,
		drainer:  drainer,
		raised:   raised,
	}
	for p := range g.flushing {
		g.flushing[p] = make(chan struct{}, 1)
	}
	return g
}

// Of is the partition's generation; 0 while it is not known.
func (g *Generations) Of(partition int) int64 { return g.current[partition].Load() }

// Renew makes Redis and MySQL agree on a generation that is newer than seen, or still right, and settles it.
// Callers that come while another is at it wait and take its result. It fails with unavailable when one of the
// two cannot be asked: never a guess.
func (g *Generations) Renew(ctx context.Context, partition int, seen int64) error {
	g.mu.Lock()
	if g.Of(partition) > seen {
		g.mu.Unlock()
		return nil
	}
	if r := g.renewals[partition]; r != nil {
		g.mu.Unlock()
		select {
		case <-r.done:
			return r.err
		case <-ctx.Done():
			return Unavailable(fmt.Errorf("wait for the generation of partition %d: %w", partition, ctx.Err()), "MySQL or Redis")
		}
	}
	r := &renewal{done: make(chan struct{})}
	g.renewals[partition] = r
	g.mu.Unlock()
	r.err = g.renew(ctx, partition)
	g.mu.Lock()
	g.renewals[partition] = nil
	g.mu.Unlock()
	close(r.done)
	return r.err
}

// ErrOvertaken tells that another instance has raised a partition's generation meanwhile.
var ErrOvertaken = errors.New("another generation was raised meanwhile")

const (
	maxOvertakes = 20 // instances that start together overtake each other for a while
	overtakeWait = 20 * time.Millisecond
)

// quarrel is what goes on as long as there are two masters: those who speak to one raise what those of the other have raised.
type quarrel struct {
	gen    int64 // the newest one that became current here, when, and on which server
	last   time.Time
	server string
	pause  time.Duration
}

const (
	minPause = 50 * time.Millisecond
	maxPause = 5 * time.Second
	calm     = 10 * time.Second // without a new generation, until it is over
)

// raised takes note of a new generation. One on the same server as the last, with others between them, answers to another
// master; a server that was restarted is another one, and one that was emptied has the next generation.
func (q *quarrel) raised(row Generation) {
	answers := row.Server == q.server && row.Gen > q.gen+1
	switch {
	case answers && time.Since(q.last) < calm:
		q.pause = min(max(2*q.pause, minPause), maxPause)
	default:
		q.pause = 0
	}
	q.gen, q.server, q.last = row.Gen, row.Server, time.Now()
}

// wait keeps the next generation off for a while.
func (q *quarrel) wait(ctx context.Context) error {
	left := q.pause - time.Since(q.last)
	if left <= 0 {
		return nil
	}
	t := time.NewTimer(left + rand.N(q.pause/2))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return Unavailable(fmt.Errorf("two masters raise generations: %w", ctx.Err()), "Redis")
	}
}

func (g *Generations) renew(ctx context.Context, partition int) error {
	if err := g.quarrels[partition].wait(ctx); err != nil {
		return err
	}
	for tries := 1; ; tries++ {
		err := g.renewOnce(ctx, partition)
		if !errors.Is(err, ErrOvertaken) || tries == maxOvertakes {
			return err
		}
		wait := time.NewTimer(overtakeWait + rand.N(time.Duration(tries)*overtakeWait))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return err
		}
	}
}

func (g *Generations) renewOnce(ctx context.Context, partition int) error {
	row, err := g.store.Renew(ctx, partition, func(ctx context.Context) (Observed, error) {
		return g.cache.Observe(ctx, partition)
	})
	if err != nil {
		return Unavailable(fmt.Errorf("renew generation of partition %d: %w", partition, err), "MySQL or Redis")
	}
	if current := g.Of(partition); row.Gen < current { // in an instance a generation never falls
		return Unavailable(fmt.Errorf("partition %d: MySQL is at generation %d, behind %d", partition, row.Gen, current), "MySQL")
	}
	set, err := g.cache.SetGeneration(ctx, partition, row.Gen, row.Server)
	if err != nil {
		return Unavailable(fmt.Errorf("set generation %d of partition %d: %w", row.Gen, partition, err), "Redis")
	}
	if !set {
		return Unavailable(fmt.Errorf("set generation %d of partition %d: %w", row.Gen, partition, ErrOvertaken), "Redis")
	}
	if err := g.Learn(ctx, partition, row.Gen); err != nil {
		return err
	}
	if err := g.settle(ctx, partition, row); err != nil {
		return err
	}
	if row.Gen > g.Of(partition) {
		g.current[partition].Store(row.Gen)
		g.quarrels[partition].raised(row)
		if g.raised != nil {
			g.raised(partition, row.Gen)
		}
	}
	return nil
}

// Learn takes note of a generation that MySQL has: everything older ends here, although this instance may not be able
// to use the new one yet, being cut off from its Redis.
func (g *Generations) Learn(ctx context.Context, partition int, gen int64) error {
	if gen <= g.flushed[partition].Load() {
		return nil
	}
	err := g.flush(ctx, partition, gen)
	if err != nil {
		return Unavailable(fmt.Errorf("flush partition %d before generation %d: %w", partition, gen, err), "MySQL")
	}
	return nil
}

// flush is called from two sides, by the heartbeat and by Renew: a journal is written once.
func (g *Generations) flush(ctx context.Context, partition int, gen int64) error {
	select {
	case g.flushing[partition] <- struct{}{}:
		defer func() { <-g.flushing[partition] }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if gen <= g.flushed[partition].Load() {
		return nil
	}
	if err := g.flusher.Flush(ctx, partition, gen); err != nil {
		return err
	}
	g.flushed[partition].Store(gen)
	return nil
}

func (g *Generations) settle(ctx context.Context, partition int, row Generation) error {
	if row.Settled >= row.Gen {
		return nil
	}
	if settled, err := g.awaitFlushes(ctx, partition, row.Gen); err != nil || settled {
		return err
	}
	if err := g.drainer.Drain(ctx, partition, row.Gen); err != nil {
		return Unavailable(fmt.Errorf("drain partition %d before generation %d: %w", partition, row.Gen, err), "MySQL")
	}
	if err := g.store.Settle(ctx, partition, row.Gen); err != nil {
		return Unavailable(fmt.Errorf("settle generation %d of partition %d: %w", row.Gen, partition, err), "MySQL")
	}
	return nil
}

const (
	minFlushWait = 5 * time.Millisecond
	maxFlushWait = 100 * time.Millisecond
)

// awaitFlushes waits until every living instance has flushed, or another one has settled gen.
func (g *Generations) awaitFlushes(ctx context.Context, partition int, gen int64) (settled bool, err error) {
	for wait := minFlushWait; ; wait = min(2*wait, maxFlushWait) {
		row, waiting, err := g.store.Unflushed(ctx, partition, gen)
		switch {
		case err != nil:
			return false, Unavailable(fmt.Errorf("who has not flushed partition %d: %w", partition, err), "MySQL")
		case row.Gen != gen:
			return false, Unavailable(fmt.Errorf("generation %d of partition %d: %w", gen, partition, ErrOvertaken), "MySQL")
		case row.Settled >= gen:
			return true, nil
		case len(waiting) == 0:
			return false, nil
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			err := fmt.Errorf("partition %d waits for %v to flush before generation %d: %w", partition, waiting, gen, ctx.Err())
			return false, Unavailable(err, "other instances")
		}
	}
}

// RenewAll renews every partition whose generation is not known yet.
func (g *Generations) RenewAll(ctx context.Context) error {
	var renewals sync.WaitGroup
	errs := make([]error, len(g.current))
	for p := range g.current {
		if g.Of(p) == 0 {
			renewals.Go(func() { errs[p] = g.Renew(ctx, p, 0) })
		}
	}
	renewals.Wait()
	return errors.Join(errs...)
}
