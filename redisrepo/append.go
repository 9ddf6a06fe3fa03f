package redisrepo

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"hearth/domain"
)

const (
	maxCallSends   = 100    // of one partition, in one script call
	maxFlightSends = 500    // in one pipeline
	maxQueued      = 20_000 // sends waiting in an instance before it says overloaded
	sendDeadline   = 5 * time.Second
	flightTimeout  = 2 * time.Second
	retryInterval  = 50 * time.Millisecond  // between tries while appends fail
	recoveryPause  = 100 * time.Millisecond // after one that failed

	dedupeTTL   = domain.DedupeWindow
	internalTTL = time.Minute // an internal id only serves this instance's own repeats
)

// AppendConfig bounds what the append script accepts.
type AppendConfig struct {
	BacklogLimit int   // entries a partition's log may hold
	BacklogBytes int64 // memory it may take, as far as the server tells; 0: no limit
	MessageBytes int   // of a body at most: a log with few entries is not asked how much it takes
	// UserRate is messages a second a user, in each partition's groups by themselves; 0: no limit. It bounds also the
	// direct conversations that he opens, whatever their partition, in each instance by itself.
	UserRate  float64
	UserBurst int
	GroupRate float64 // messages a second a group; 0: no limit
	// StrangerLimit is how many messages a user may send to one who has not written in their direct conversation, at
	// most domain.MaxStrangerLimit; 0: no limit.
	StrangerLimit int
}

// entryBytes is what an entry takes beside its body at most, roughly: mentions are most of it.
const entryBytes = 4 << 10

// measureFrom is the number of entries below which a log cannot take as much memory as it may.
func (c AppendConfig) measureFrom() int64 {
	return c.BacklogBytes / int64(c.MessageBytes+entryBytes)
}

// Recovery does what a script's answer asks for; domain.Recovery is it.
type Recovery interface {
	Renew(ctx context.Context, partition int, seen int64) error
	// Load caches a group; open asks for a direct conversation to be made if there is none.
	Load(ctx context.Context, group string, open bool) error
	Seed(ctx context.Context, partition int, gen int64, groups []string) error
}

// Appender is the batcher: sends that arrive while a pipeline is on its way wait for it and go together in the
// next one, one script call a partition. There is no timer: a send that comes alone goes at once.
type Appender struct {
	store    *Store
	recovery Recovery
	cfg      AppendConfig
	log      zerolog.Logger
	metrics  *appendMetrics
	users    *userRates

	wake chan struct{}
	jobs sync.WaitGroup // recoveries under way; Run waits for them

	failing bool // appends fail at present; for the log, of Run alone

	mu       sync.Mutex // guards what follows; never held during I/O or a done
	queues   []partitionQueue
	queued   int
	stopping bool
	next     int // partition that the next flight starts with
}

// partitionQueue holds a partition's sends in the order in which they came.
type partitionQueue struct {
	sends []*pendingSend
	stale bool                // a renewal is under way: nothing goes
	held  map[string]struct{} // groups that are being loaded or seeded: their sends stay, others pass them
}

type pendingSend struct {
	domain.Append
	done     func(domain.Accepted, error)
	deadline time.Time
	err      error         // of the last try that failed
	tried    int64         // generation of a try whose outcome is unknown; 0: none
	over     time.Duration // the user's rate over all groups: how long until there is room again; 0: not over it
	opening  bool          // the script has answered LOAD, and taken the send's turn in the user's rate
}

// opens tells whether a send makes its direct conversation if there is none. One that answers a message does not: it would
// be refused there; nor does one that is refused for its content.
func (s *pendingSend) opens() bool { return s.Open && s.ReplyTo == 0 && s.Refused == nil }

// notOpened is what a send is told that would not open its conversation.
func (s *pendingSend) notOpened() error {
	if s.Refused != nil {
		return s.Refused
	}
	return noSuchMessage()
}

// turn tells the script when to take the send's turn in the user's rate.
func (s *pendingSend) turn() string {
	switch {
	case s.Refused != nil:
		return "refused"
	case s.over > 0:
		return "over:" + strconv.FormatInt(s.over.Milliseconds(), 10)
	case s.opening:
		return "taken"
	case s.opens():
		return "load"
	}
	return "append"
}

// NewAppender makes the batcher; Run starts it.
func NewAppender(store *Store, recovery Recovery, cfg AppendConfig, log zerolog.Logger, reg prometheus.Registerer) *Appender {
	a := &Appender{
		store: store, recovery: recovery, cfg: cfg, log: log, metrics: newAppendMetrics(reg),
		wake:   make(chan struct{}, 1),
		queues: make([]partitionQueue, store.cfg.Partitions),

		users: newUserRates(cfg.UserRate, cfg.UserBurst),
	}
	reg.MustRegister(store.reseeds)
	return a
}

// Append queues a send; see domain.Appender.
func (a *Appender) Append(send domain.Append, done func(domain.Accepted, error)) {
	p := a.store.cfg.Partitions.Of(send.Group)
	over, done := a.count(send, done)
	a.mu.Lock()
	if a.stopping || a.queued >= maxQueued {
		stopping := a.stopping
		a.mu.Unlock()
		if stopping {
			done(domain.Accepted{}, domain.Errorf(domain.CodeUnavailable, "this instance is shutting down"))
		} else {
			a.metrics.refused("BACKLOG")
			done(domain.Accepted{}, &domain.Error{Code: domain.CodeOverloaded, Message: "too many sends are waiting", RetryAfter: time.Second})
		}
		return
	}
	a.queued++
	a.queues[p].sends = append(a.queues[p].sends, &pendingSend{Append: send, done: done, over: over, deadline: time.Now().Add(sendDeadline)})
	a.mu.Unlock()
	a.signal()
}

// count takes a send's turn in its user's rate over all groups, and gives it back when nothing was stored. A send that is
// over it goes to the script all the same: it may be the repeat of one that was stored.
func (a *Appender) count(send domain.Append, done func(domain.Accepted, error)) (over time.Duration, counted func(domain.Accepted, error)) {
	if send.Operator != "" || a.users.interval == 0 {
		return 0, done
	}
	if over = a.users.take(send.From, time.Now()); over > 0 {
		return over, done
	}
	return 0, func(accepted domain.Accepted, err error) {
		if err != nil || accepted.Duplicate {
			a.users.giveBack(send.From)
		}
		done(accepted, err)
	}
}

func (a *Appender) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Run sends until ctx is done, then answers what is still queued and returns.
func (a *Appender) Run(ctx context.Context) error {
	defer a.jobs.Wait()
	defer a.stop()
	retry := time.NewTicker(retryInterval) // for sends that wait out a failure or their deadline
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			a.drain(context.WithoutCancel(ctx))
			return nil
		case <-a.wake:
		case <-retry.C:
		}
		for ctx.Err() == nil && a.fly(ctx) {
		}
	}
}

// drain sends what was queued before the end, once around.
func (a *Appender) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, flightTimeout)
	defer cancel()
	for ctx.Err() == nil && a.fly(ctx) {
	}
}

func (a *Appender) stop() {
	a.mu.Lock()
	a.stopping = true
	var left []*pendingSend
	for p := range a.queues {
		left = append(left, a.queues[p].sends...)
		a.queues[p].sends = nil
	}
	a.queued = 0
	a.mu.Unlock()
	for _, s := range left {
		s.done(domain.Accepted{}, domain.Unavailable(s.err, "Redis"))
	}
}

func waitOrDone(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
