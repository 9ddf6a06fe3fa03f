package jobs_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/jobs"
)

// history is the world with generations: a Redis server that gets another identity, and MySQL's row of each
// partition. It is what domain.Generations needs of both.
type history struct {
	*world
	identity    string
	set         [partitions]domain.Observed // by SetGeneration
	generations [partitions]domain.Generation
	locks       [partitions]chan struct{} // of the rows; a mutex would stop the bubble's clock
}

func newHistory() *history {
	h := &history{world: newWorld(), identity: "server 0"}
	for p := range h.locks {
		h.locks[p] = make(chan struct{}, 1)
	}
	return h
}

// generationsOf is one instance's way to the history.
type generationsOf struct {
	*client
	history *history
}

func (g generationsOf) Observe(ctx context.Context, partition int) (o domain.Observed, err error) {
	err = g.request(ctx, "observe", nil, func() (int, error) {
		o = g.history.set[partition]
		o.Identity = g.history.identity
		return 0, nil
	})
	return o, err
}

func (g generationsOf) ObserveAll(ctx context.Context) (all []domain.Observed, err error) {
	err = g.request(ctx, "observe all", nil, func() (int, error) {
		for _, o := range g.history.set {
			o.Identity = g.history.identity
			all = append(all, o)
		}
		return len(all), nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// SetGeneration is generation.lua.
func (g generationsOf) SetGeneration(ctx context.Context, partition int, gen int64, identity string) (ok bool, err error) {
	err = g.request(ctx, "set generation", nil, func() (int, error) {
		set := &g.history.set[partition]
		if identity != g.history.identity {
			return 0, nil
		}
		if gen > set.Gen {
			if set.Gen > 0 {
				g.older[partition] = append(g.older[partition], set.Gen)
			}
			*set = domain.Observed{Gen: gen, Server: identity}
		}
		ok = set.Gen == gen
		return 0, nil
	})
	return ok && err == nil, err
}

func (g generationsOf) Renew(ctx context.Context, partition int, observe func(context.Context) (domain.Observed, error)) (row domain.Generation, err error) {
	select {
	case g.history.locks[partition] <- struct{}{}:
		defer func() { <-g.history.locks[partition] }()
	case <-ctx.Done():
		return row, ctx.Err()
	}
	o, err := observe(ctx)
	if err != nil {
		return row, err
	}
	err = g.request(ctx, "raise", nil, func() (int, error) {
		if stored := &g.history.generations[partition]; !stored.Agrees(o) {
			stored.Gen, stored.Server = stored.Gen+1, o.Identity
		}
		row = g.history.generations[partition]
		return 0, nil
	})
	return row, err
}

// Flush has nothing to write: these instances have no journal.
func (generationsOf) Flush(context.Context, int, int64) error { return nil }

func (g generationsOf) Unflushed(ctx context.Context, partition int, _ int64) (row domain.Generation, _ []string, err error) {
	err = g.request(ctx, "unflushed", nil, func() (int, error) {
		row = g.history.generations[partition]
		return 0, nil
	})
	return row, nil, err
}

func (g generationsOf) Settle(ctx context.Context, partition int, gen int64) error {
	return g.request(ctx, "settle", nil, func() (int, error) {
		row := &g.history.generations[partition]
		if row.Gen != gen {
			return 0, errPassed
		}
		row.Settled, g.settled[partition] = gen, gen
		return 0, nil
	})
}

// node is an instance with everything that runs in it.
type node struct {
	*instance
	gens  *domain.Generations
	watch *jobs.WatchGenerations
	stops []func()
}

func (h *history) start(t *testing.T, name string, trouble gate) *node {
	n := &node{}
	n.instance = newInstance(h.world, name, func(log jobs.Log, w *jobs.Writer) jobs.Generations {
		of := generationsOf{log.(*client), h}
		n.gens = domain.NewGenerations(partitions, of, of, of, w, nil)
		n.watch = jobs.NewWatchGenerations(of, n.gens, zerolog.Nop())
		return n.gens
	})
	n.through(trouble)
	for _, run := range []func(context.Context) error{n.persist.Run, n.marks.Run, n.watch.Run, n.leases.Run} {
		n.stops = append(n.stops, start(t, run))
	}
	return n
}

// leave ends it in order, crash with nothing arriving any more.
func (n *node) leave(ctx context.Context) {
	for _, stop := range n.stops {
		stop()
	}
	n.leases.Release(ctx)
}

func (n *node) crash() {
	n.through(down)
	for _, stop := range n.stops {
		stop()
	}
}

// accept is an append through this instance; a stale one finds the generation instead.
func (n *node) accept(ctx context.Context, h *history, partition, group, messages int) {
	gen := n.gens.Of(partition)
	h.mu.Lock()
	set := h.set[partition]
	stale := gen == 0 || set.Gen != gen || set.Server != h.identity
	h.mu.Unlock()
	if stale {
		_ = n.gens.Renew(ctx, partition, gen) // refused: the client tries again
		return
	}
	log := logOf(partition, gen)
	h.send(log, groupIn(partition, group), messages)
	h.read(log, groupIn(partition, group), "ann", firstSeq(gen)+int64(messages))
}

// dice are shared by the goroutines of a test.
type dice struct {
	mu  sync.Mutex // guards rng
	rng *rand.Rand
}

func (d *dice) roll(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.IntN(n)
}

// trouble loses some requests and replies, and lets some hang until their caller gives up.
func (d *dice) trouble(ctx context.Context, name string, _ []domain.LogRange) outcome {
	time.Sleep(time.Duration(d.roll(3000)) * time.Microsecond)
	_, hasDeadline := ctx.Deadline()
	switch n := d.roll(1000); {
	case n < 2 && hasDeadline:
		<-ctx.Done()
		return []outcome{requestLost, replyLost}[n]
	case n < 60:
		return requestLost
	case n < 100:
		return replyLost
	}
	return answered
}

// Three instances under load for half a minute: requests fail and hang, instances leave and crash, Redis restarts
// and is another server, MySQL goes away. A minute of calm later every message is stored once.
func TestHalfAMinuteOfTroubleLosesNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := &dice{rng: rand.New(rand.NewPCG(seed, 1))}
				h := newHistory()
				nodes := make([]*node, 3)
				begin := func(i int) { nodes[i] = h.start(t, fmt.Sprint("node ", i, " of ", time.Now()), d.trouble) }
				for i := range nodes {
					begin(i)
				}
				for begun := time.Now(); time.Since(begun) < 30*time.Second; {
					time.Sleep(time.Duration(d.roll(50)) * time.Millisecond)
					i := d.roll(len(nodes))
					switch n := d.roll(300); {
					case n == 0:
						nodes[i].crash()
						begin(i)
					case n == 1:
						nodes[i].leave(t.Context())
						begin(i)
					case n == 2:
						h.mu.Lock()
						h.identity = fmt.Sprint("server of ", time.Now())
						h.mu.Unlock()
					case n == 3:
						nodes[i].through(withoutMySQL)
						time.Sleep(3 * time.Second)
						nodes[i].through(d.trouble)
					default: // node 0 sends nothing, and still has to learn of new generations
						ctx, cancel := context.WithTimeout(t.Context(), time.Second)
						nodes[1+d.roll(2)].accept(ctx, h, d.roll(partitions), d.roll(2), 1+d.roll(150))
						cancel()
					}
				}
				for _, n := range nodes {
					n.through(nil)
				}
				for calm := time.Now(); h.backlog()+h.dirtyMarks() > 0; after(100 * time.Millisecond) {
					if time.Since(calm) > time.Minute {
						t.Fatalf("%d messages and %d marks left; generations: Redis %v, MySQL %v, older %v",
							h.backlog(), h.dirtyMarks(), h.set, h.generations, h.older)
					}
				}
				h.requireAllStored(t)
				requireNone(t, h.aside, "entries were set aside, though nothing came too late")
				require.Greater(t, h.stored(), 1000, "messages")
				for _, n := range nodes {
					n.leave(t.Context())
				}
				for p, l := range h.leases { // those of nodes that crashed end by themselves
					for _, n := range nodes {
						require.NotEqual(t, n.name, l.holder, "partition %d: a lease that nobody gave back", p)
					}
				}
			})
		})
	}
}
