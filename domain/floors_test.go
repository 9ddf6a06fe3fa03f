package domain_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// backedUp is a system of one partition whose MySQL has a and Redis a and b; it notes what changes it.
type backedUp struct {
	domain.RemainsCache
	domain.FloorStore
	living []string
	left   int  // messages of the log that cannot be stored
	again  bool // a run before was broken off
	did    []string
}

func (b *backedUp) note(format string, args ...any) {
	b.did = append(b.did, fmt.Sprintf(format, args...))
}

// cacheOf and storeOf name the side of methods that both have.
type cacheOf struct{ *backedUp }

func (c cacheOf) Living(context.Context) ([]string, error) { return c.living, nil }

type storeOf struct{ *backedUp }

func (s storeOf) Living(context.Context) ([]string, error) { return nil, nil }

func (b *backedUp) ObserveAll(context.Context) ([]domain.Observed, error) {
	return []domain.Observed{{Gen: 4}}, nil
}

func (b *backedUp) Remaining(context.Context) (map[string][]int64, error) {
	return map[string][]int64{"a": {3, 4}, "b": {4}}, nil
}

func (b *backedUp) RemainsOf(_ context.Context, group string, gens []int64) (domain.Remains, error) {
	r := domain.Remains{Group: group, Top: gens[len(gens)-1]}
	if group == "a" {
		r.Recalls = []domain.Recall{{Group: "a", Seq: 7}}
	}
	return r, nil
}

func (b *backedUp) Logs(context.Context) ([]domain.LogRange, error) {
	return []domain.LogRange{{Partition: 0, Gen: 4}}, nil
}

func (b *backedUp) EachEntries(_ context.Context, _ domain.LogRange, found func([]domain.LogEntry) error) error {
	return found([]domain.LogEntry{{ID: "1-0"}, {ID: "2-0", Recall: &domain.Recall{Group: "b", Seq: 2}}})
}

func (b *backedUp) Committed(context.Context, []domain.LogBatch) error {
	b.note("committed")
	return nil
}

func (b *backedUp) SetAside(context.Context, int, int64) error { b.note("set aside"); return nil }

func (b *backedUp) ForgetGroups(context.Context) error { b.note("forgot groups"); return nil }

func (b *backedUp) AuditPage(_ context.Context, after string, _, _ int) ([]string, error) {
	if after == "" {
		return []string{"a"}, nil
	}
	return nil, nil
}

func (b *backedUp) KnownGroups(context.Context, []string) (map[string]bool, error) {
	return map[string]bool{"a": false}, nil
}

func (b *backedUp) RaiseGeneration(_ context.Context, _ int, redis int64, dry bool) (before, after domain.Generation, err error) {
	b.note("generation above %d dry %v", redis, dry)
	if b.again {
		return domain.Generation{Gen: redis + 1}, domain.Generation{Gen: redis + 1}, nil
	}
	return domain.Generation{Gen: 2}, domain.Generation{Gen: redis + 1}, nil
}

func (b *backedUp) WriteBack(context.Context, []domain.Message) (int, error) { return b.left, nil }

func (b *backedUp) RecallMessages(_ context.Context, recalls []domain.Recall) error {
	b.note("recalled %d of %s", recalls[0].Seq, recalls[0].Group)
	return nil
}

func (b *backedUp) RaiseFloor(_ context.Context, gen int64, r domain.Remains, dry bool) (domain.RaisedFloor, error) {
	b.note("floor of %s in %d from %d lost %d dry %v", r.Group, gen, r.Top, r.LostGens, dry)
	return domain.RaisedFloor{Group: r.Group, Floor: 1}, nil
}

func (b *backedUp) repair() (*domain.FloorRepair, *[]string) {
	var told []string
	return &domain.FloorRepair{
		Store: storeOf{b}, Cache: cacheOf{b}, Partitions: 1,
		Generation: func(p int, before, after domain.Generation) {
			told = append(told, fmt.Sprint(p, " ", before.Gen, " ", after.Gen))
		},
		Raised: func(r domain.RaisedFloor) { told = append(told, fmt.Sprint(r.Group, " ", r.Unknown)) },
	}, &told
}

func TestFloorRepair(t *testing.T) {
	t.Parallel()
	floors := func(dry bool) []string {
		list := []string{fmt.Sprint("generation above 4 dry ", dry), fmt.Sprint("floor of a in 5 from 4 lost 2 dry ", dry)}
		if !dry {
			list = append(list, "recalled 7 of a")
		}
		list = append(list, fmt.Sprint("floor of b in 5 from 4 lost 2 dry ", dry))
		if !dry {
			list = append(list, "recalled 2 of b")
		}
		return list
	}
	b := &backedUp{}
	f, told := b.repair()
	require.NoError(t, f.Run(t.Context()))
	require.Equal(t, append(floors(false), "committed", "forgot groups"), b.did)
	require.Equal(t, []string{"0 2 5", "a false", "b true"}, *told)

	b = &backedUp{left: 1}
	f, _ = b.repair()
	require.NoError(t, f.Run(t.Context()))
	require.Equal(t, append(floors(false), "set aside", "forgot groups"), b.did, "what cannot be stored is not thrown away")

	b = &backedUp{}
	f, told = b.repair()
	f.Dry = true
	require.NoError(t, f.Run(t.Context()))
	require.Equal(t, floors(true), b.did)
	require.Len(t, *told, 3)

	b = &backedUp{again: true}
	f, told = b.repair()
	require.NoError(t, f.Run(t.Context()))
	require.Contains(t, b.did, "floor of a in 5 from 4 lost 4 dry false", "all of them may be lost")
	require.Equal(t, []string{"a false", "b true"}, *told)

	b = &backedUp{}
	f, _ = b.repair()
	f.Cache = nil
	require.NoError(t, f.Run(t.Context()))
	require.Equal(t, []string{"generation above 0 dry false", "floor of a in 1 from 0 lost 0 dry false"}, b.did, "Redis is gone")

	b = &backedUp{living: []string{"i1", "i1"}}
	f, _ = b.repair()
	require.ErrorContains(t, f.Run(t.Context()), "instances live: stop them first (one that was killed counts for 15 s): [i1]")
	require.Empty(t, b.did)
	f.Force = true
	require.NoError(t, f.Run(t.Context()))
}
