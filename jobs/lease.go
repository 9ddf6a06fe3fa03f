package jobs

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"hearth/domain"
)

const (
	leaseTTL   = 4 * time.Second
	leaseRenew = time.Second
)

// LeaseStore keeps leases.
type LeaseStore interface {
	// Lease takes or prolongs a partition's lease; false when another instance holds it.
	Lease(ctx context.Context, partition int, instance string, ttl time.Duration) (bool, error)
	Unlease(ctx context.Context, partition int, instance string) error
}

// Leases holds as many partitions' leases as it can get.
type Leases struct {
	store      LeaseStore
	partitions domain.Partitions
	instance   string
	log        zerolog.Logger

	mu   sync.Mutex // guards held
	held map[int]bool
}

// NewLeases makes the holder; Run starts it.
func NewLeases(store LeaseStore, n domain.Partitions, instance string, log zerolog.Logger) *Leases {
	return &Leases{store: store, partitions: n, instance: instance, log: log, held: make(map[int]bool)}
}

// Held lists the partitions whose lease this instance has, ascending.
func (l *Leases) Held() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := make([]int, 0, len(l.held))
	for p := range int(l.partitions) {
		if l.held[p] {
			held = append(held, p)
		}
	}
	return held
}

// Run takes and prolongs leases until ctx is done, then keeps them: Release gives them back.
func (l *Leases) Run(ctx context.Context) error {
	tick := time.NewTicker(leaseRenew)
	defer tick.Stop()
	for {
		l.renew(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (l *Leases) renew(ctx context.Context) {
	for p := range int(l.partitions) {
		ok, err := l.store.Lease(ctx, p, l.instance, leaseTTL)
		if err != nil && ctx.Err() != nil { // says nothing about the lease, which Release still has to give back
			return
		}
		if err != nil {
			l.log.Warn().Err(err).Int("partition", p).Msg("lease not renewed")
		}
		l.mu.Lock()
		l.held[p] = ok
		l.mu.Unlock()
	}
}

// Release gives all leases back, so that other instances need not wait for their end: also those whose grant was not
// heard.
func (l *Leases) Release(ctx context.Context) {
	for p := range int(l.partitions) {
		if err := l.store.Unlease(ctx, p, l.instance); err != nil {
			l.log.Warn().Err(err).Int("partition", p).Msg("lease not given back, it ends by itself")
		}
	}
	l.mu.Lock()
	clear(l.held)
	l.mu.Unlock()
}
