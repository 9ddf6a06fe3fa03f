package domain

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// HoleStore is the MySQL side of holes.
type HoleStore interface {
	// Holes are all holes of a group.
	Holes(ctx context.Context, group string) (Holes, error)
}

// HoleCache is the Redis side of holes.
type HoleCache interface {
	// SetHoles takes over a group's holes after they have changed in MySQL.
	SetHoles(ctx context.Context, group string, holes Holes) error
}

// TakeHoles brings a group's holes from MySQL to Redis. Two may do it at once, and the later one write what it read
// before the other: so it is read once more.
func TakeHoles(ctx context.Context, store HoleStore, cache HoleCache, group string) error {
	holes, err := store.Holes(ctx, group)
	if err != nil {
		return Unavailable(err, "MySQL")
	}
	for {
		if err := cache.SetHoles(ctx, group, holes); err != nil {
			return Unavailable(err, "Redis")
		}
		now, err := store.Holes(ctx, group)
		if err != nil {
			return Unavailable(err, "MySQL")
		}
		if slices.Equal(holes, now) {
			return nil
		}
		holes = now
	}
}

// RepairCache is the Redis side of repairs.
type RepairCache interface {
	HoleCache
	// PublishRepair tells all instances that a group's history has changed above after.
	PublishRepair(ctx context.Context, group string, after int64) error
}

// Repairer lets Redis and clients follow when messages came back whose seqs were given up.
type Repairer struct {
	store HoleStore
	cache RepairCache
}

// NewRepairer puts the two sides together.
func NewRepairer(store HoleStore, cache RepairCache) *Repairer {
	return &Repairer{store: store, cache: cache}
}

// Repaired is to be called when the messages are committed; filled is the lowest seq that came back in each group. Groups that
// are done are taken out of it: what fails for some is told when the others are done, and their clients need not begin anew when
// it is done again.
func (r *Repairer) Repaired(ctx context.Context, filled map[string]int64) error {
	var errs []error
	for _, group := range slices.Sorted(maps.Keys(filled)) {
		err := TakeHoles(ctx, r.store, r.cache, group)
		if err == nil { // whoever subscribes again then finds what came back
			err = r.cache.PublishRepair(ctx, group, filled[group]-1)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("repair %s from %d on: %w", group, filled[group], err))
			continue
		}
		delete(filled, group)
	}
	return errors.Join(errs...)
}
