package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"hearth/domain"
)

const (
	heatInterval = time.Second            // between looks at what is known here; Redis is asked of what is not
	heatGather   = 250 * time.Millisecond // in which partitions whose generations are raised together come together
	heatTimeout  = 30 * time.Second       // of the query of speakers, and of one of messages until it gives the next one
	heatBatch    = 500                    // messages that are counted in one call
	clockMargin  = 10 * time.Second       // between servers of a cluster; what is too old Redis leaves out
)

// HeatCache is the Redis side of heat.
type HeatCache interface {
	NowMS(ctx context.Context) (int64, error)
	// WithoutHeat is those of some partitions' generations whose heat was not brought back yet.
	WithoutHeat(ctx context.Context, gens []domain.LogRange) ([]domain.LogRange, error)
	// AddHeat counts a partition's speakers, unless they are counted already, and notes that its heat is whole.
	AddHeat(ctx context.Context, gen domain.LogRange, speakers []domain.Speaker) error
	// AddMessages counts messages of a partition, unless they are counted already; with last, all of them are.
	AddMessages(ctx context.Context, gen domain.LogRange, messages []domain.MessageTime, last bool) error
	// ExpireHeat takes out what has left the window, and counts the groups with heat.
	ExpireHeat(ctx context.Context, partitions []int) (groups int64, err error)
}

// SpeakerStore is the MySQL side.
type SpeakerStore interface {
	// Speakers are the users with a message after a time, in groups that are ranked.
	Speakers(ctx context.Context, afterMS int64) ([]domain.Speaker, error)
	// MessageTimes goes through their messages, until found fails.
	MessageTimes(ctx context.Context, afterMS int64, found func(domain.MessageTime) error) error
}

// HeatConfig says what counts as heat.
type HeatConfig struct {
	Window        time.Duration
	CountMessages bool // and not only who sent them
}

// Heat is the job that brings heat back from MySQL when a partition's generation is new, for Redis may have lost some or
// all of it, and that lets it end in groups where nobody speaks any more. It does so for the partitions whose lease
// this instance has.
//
// Everything older than a settled generation is in MySQL, and what is newer was counted when it was sent.
type Heat struct {
	cache      HeatCache
	store      SpeakerStore
	leases     *Leases
	gens       Generations
	partitions domain.Partitions
	cfg        HeatConfig
	log        zerolog.Logger
	groups     prometheus.Gauge
	wake       chan struct{}
	whole      map[domain.LogRange]bool // generations known to have their heat; of Run alone
}

// NewHeat makes the job.
func NewHeat(cache HeatCache, store SpeakerStore, leases *Leases, gens Generations, n domain.Partitions, cfg HeatConfig, log zerolog.Logger, reg prometheus.Registerer) *Heat {
	h := &Heat{
		cache: cache, store: store, leases: leases, gens: gens, partitions: n, cfg: cfg, log: log,
		groups: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "hearth_heat_groups", Help: "Groups of this instance's partitions in which somebody spoke within the window.",
		}),
		wake: make(chan struct{}, 1), whole: make(map[domain.LogRange]bool),
	}
	reg.MustRegister(h.groups)
	return h
}

// Raised has the job look at once: a generation has become current. It does not wait.
func (h *Heat) Raised() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Run brings heat back and ends it until ctx is done.
func (h *Heat) Run(ctx context.Context) error {
	tick := time.NewTicker(heatInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.wake:
			wait(ctx, heatGather)
		case <-tick.C:
		}
		if err := h.bringBack(ctx); err != nil && ctx.Err() == nil {
			h.log.Warn().Err(err).Msg("heat not brought back from MySQL, trying again")
		}
		if err := h.expire(ctx); err != nil && ctx.Err() == nil {
			h.log.Warn().Err(err).Msg("heat not expired, trying again")
		}
	}
}

// bringBack asks MySQL once for all partitions that lack their heat.
func (h *Heat) bringBack(ctx context.Context) error {
	missing, nowMS, err := h.missing(ctx)
	if err != nil || len(missing) == 0 {
		return err
	}
	begun := time.Now()
	afterMS := nowMS - (h.cfg.Window + clockMargin).Milliseconds()
	if h.cfg.CountMessages { // first, so that no group is ranked by its speakers alone
		if err := h.bringMessagesBack(ctx, missing, afterMS); err != nil {
			return err
		}
	}
	speakers, err := h.bringSpeakersBack(ctx, missing, afterMS)
	if err != nil {
		return fmt.Errorf("heat of %d partitions: %w", len(missing), err)
	}
	h.log.Info().Int("partitions", len(missing)).Int("speakers", speakers).Dur("took_ms", time.Since(begun)).Msg("heat brought back")
	return nil
}

func (h *Heat) bringSpeakersBack(ctx context.Context, missing []domain.LogRange, afterMS int64) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, heatTimeout)
	defer cancel()
	speakers, err := h.store.Speakers(ctx, afterMS)
	if err != nil {
		return 0, err
	}
	of := make(map[int][]domain.Speaker, len(missing))
	for _, s := range speakers {
		p := h.partitions.Of(s.Group)
		of[p] = append(of[p], s)
	}
	for _, gen := range missing {
		if addErr := h.cache.AddHeat(ctx, gen, of[gen.Partition]); addErr != nil {
			err = addErr
			continue
		}
		h.whole[gen] = true
	}
	return len(speakers), err
}

// bringMessagesBack passes messages on as they are read: there may be millions. It goes on as long as they come: with a time
// that is too short for them it would begin again and again.
func (h *Heat) bringMessagesBack(ctx context.Context, missing []domain.LogRange, afterMS int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stuck := time.AfterFunc(heatTimeout, cancel)
	defer stuck.Stop()
	gens := make(map[int]domain.LogRange, len(missing))
	for _, gen := range missing {
		gens[gen.Partition] = gen
	}
	of := make(map[int][]domain.MessageTime, len(missing))
	err := h.store.MessageTimes(ctx, afterMS, func(m domain.MessageTime) error {
		stuck.Reset(heatTimeout)
		p := h.partitions.Of(m.Group)
		gen, lacks := gens[p]
		if !lacks {
			return nil
		}
		if of[p] = append(of[p], m); len(of[p]) < heatBatch {
			return nil
		}
		err := h.cache.AddMessages(ctx, gen, of[p], false)
		of[p] = of[p][:0]
		return err
	})
	if err != nil {
		return err
	}
	for _, gen := range missing {
		if addErr := h.cache.AddMessages(ctx, gen, of[gen.Partition], true); addErr != nil {
			err = addErr
		}
	}
	return err
}

// missing asks Redis only of generations that are not known to have their heat, and if there are any, for the time.
func (h *Heat) missing(ctx context.Context) (missing []domain.LogRange, nowMS int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	var unknown []domain.LogRange
	whole := make(map[domain.LogRange]bool) // forgets generations that are over, and partitions that others took
	for _, gen := range logsOf(h.leases, h.gens) {
		if h.whole[gen] {
			whole[gen] = true
		} else {
			unknown = append(unknown, gen)
		}
	}
	h.whole = whole
	if len(unknown) == 0 {
		return nil, 0, nil
	}
	if missing, err = h.cache.WithoutHeat(ctx, unknown); err != nil {
		return nil, 0, err
	}
	for _, gen := range unknown {
		whole[gen] = true
	}
	for _, gen := range missing {
		delete(whole, gen)
	}
	if len(missing) > 0 {
		nowMS, err = h.cache.NowMS(ctx)
	}
	return missing, nowMS, err
}

func (h *Heat) expire(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	groups, err := h.cache.ExpireHeat(ctx, h.leases.Held())
	if err != nil {
		return err
	}
	h.groups.Set(float64(groups))
	return nil
}
