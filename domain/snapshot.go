package domain

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"sync"
	"time"
)

// One instance takes a snapshot while the others wait. What is not prolonged for hotTurn is over: its holder has died.
const (
	hotTurn     = time.Second
	hotPoll     = 20 * time.Millisecond
	hotPatience = 250 * time.Millisecond // then the last snapshot is better than a wait
	hotChunk    = 1000                   // groups whose viewers are asked for together

	heatPatience = time.Second // with heat that is being brought back: what there is of it would be taken for all
	heatPoll     = 50 * time.Millisecond
)

// errPart says that some of the heat is still being brought back.
var errPart = errors.New("heat is being brought back")

// current is the id of the snapshot that serves everybody, taken now if there is none.
func (r *Ranking) current(ctx context.Context, typ string) (string, error) {
	turn, err := r.turn(ctx, typ, "")
	if err != nil || turn.Fresh {
		return turn.ID, err
	}
	begun := time.Now()
	patience := time.NewTimer(hotPatience)
	defer patience.Stop()
	waits := patience.C
	for {
		select {
		case <-r.turns[typ]:
			defer func() { r.turns[typ] <- struct{}{} }()
			return r.next(ctx, typ, begun, waits)
		case <-waits:
			waits = nil
			if turn, err = r.turn(ctx, typ, ""); err != nil || turn.ID != "" {
				return turn.ID, err
			}
		case <-ctx.Done():
			return "", waitedForHot(ctx)
		}
	}
}

// next takes the next snapshot, or waits for the instance that does. Once patience has ended (nil: it has) it is content with
// the last one; if that is no longer kept it waits for as long as the other one lives. While the heat is not whole nobody
// needs the turn.
func (r *Ranking) next(ctx context.Context, typ string, begun time.Time, patience <-chan time.Time) (string, error) {
	token := rand.Text()
	whole, err := r.whole(ctx, typ, begun)
	for {
		if err != nil {
			return r.last(ctx, typ, err)
		}
		turn, failed := r.turn(ctx, typ, token)
		switch {
		case failed != nil || turn.Fresh:
			return turn.ID, failed
		case turn.Mine:
			id, failed := r.save(ctx, typ, token, whole)
			if !errors.Is(failed, errPart) {
				return id, failed
			}
			whole, err = r.whole(ctx, typ, begun) // it was lost meanwhile
			continue
		case patience == nil && turn.ID != "":
			return turn.ID, nil
		}
		select {
		case <-time.After(hotPoll):
		case <-patience:
			patience = nil
		case <-ctx.Done():
			return "", waitedForHot(ctx)
		}
	}
}

// whole waits until all of the heat is there, and says what it belongs to. Those who asked while others here waited in vain
// do not wait again.
func (r *Ranking) whole(ctx context.Context, typ string, begun time.Time) (of string, err error) {
	r.mu.Lock()
	known := r.parts[typ].After(begun)
	r.mu.Unlock()
	for !known {
		if of, err = r.cache.WholeHeat(ctx); err != nil {
			return "", Unavailable(fmt.Errorf("whether heat is whole: %w", err), "Redis")
		}
		if of != "" {
			return of, nil
		}
		if time.Since(begun) >= heatPatience {
			r.mu.Lock()
			r.parts[typ] = time.Now()
			r.mu.Unlock()
			break
		}
		select {
		case <-time.After(heatPoll):
		case <-ctx.Done():
			return "", waitedForHot(ctx)
		}
	}
	return "", errPart
}

// last is the snapshot from before the heat was lost, if that is still kept.
func (r *Ranking) last(ctx context.Context, typ string, err error) (string, error) {
	if !errors.Is(err, errPart) {
		return "", err
	}
	if turn, err := r.turn(ctx, typ, ""); err != nil || turn.ID != "" {
		return turn.ID, err
	}
	return "", &Error{Code: CodeUnavailable, Message: "the ranking is being counted anew, try again", RetryAfter: time.Second, Err: err}
}

func waitedForHot(ctx context.Context) error {
	return Unavailable(fmt.Errorf("wait for a hot snapshot: %w", ctx.Err()), "Redis")
}

func (r *Ranking) turn(ctx context.Context, typ, token string) (SnapshotTurn, error) {
	turn, err := r.cache.SnapshotTurn(ctx, typ, token, hotTurn)
	if err != nil {
		return turn, Failed(fmt.Errorf("current hot snapshot: %w", err), "Redis")
	}
	return turn, nil
}

// save takes a snapshot whose turn this is, and keeps it.
func (r *Ranking) save(ctx context.Context, typ, token, whole string) (id string, err error) {
	begun := time.Now()
	release := r.hold(ctx, typ, token)
	s, err := r.take(ctx, typ, whole)
	if err == nil { // kept so long that the last one can serve those who lose their patience with the next
		id, err = r.cache.SaveSnapshot(ctx, typ, token, s, r.cfg.SnapshotTTL, 2*r.cfg.SnapshotTTL+2*hotTurn)
		if err != nil {
			err = Failed(fmt.Errorf("save hot snapshot: %w", err), "Redis")
		}
	}
	release()
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hotTurn)
		defer cancel()
		_ = r.cache.NoSnapshot(ctx, typ, token) // or else the others wait until the turn ends by itself
		return "", err
	}
	if r.cfg.Took != nil {
		r.cfg.Took(time.Since(begun))
	}
	return id, nil
}

// hold prolongs a turn until release is called.
func (r *Ranking) hold(ctx context.Context, typ, token string) (release func()) {
	ctx, cancel := context.WithCancel(ctx)
	var held sync.WaitGroup
	held.Go(func() {
		again := time.NewTicker(hotTurn / 4)
		defer again.Stop()
		for {
			select {
			case <-again.C:
				_, _ = r.cache.SnapshotTurn(ctx, typ, token, hotTurn) // the next time, or who takes over does no harm
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); held.Wait() }
}

// take reads a snapshot of heat that was whole before.
func (r *Ranking) take(ctx context.Context, typ, whole string) (HotSnapshot, error) {
	groups, nowMS, err := r.cache.Heat(ctx)
	if err != nil {
		return HotSnapshot{}, Unavailable(fmt.Errorf("heat: %w", err), "Redis")
	}
	switch still, err := r.cache.WholeHeat(ctx); {
	case err != nil:
		return HotSnapshot{}, Unavailable(fmt.Errorf("whether heat is whole: %w", err), "Redis")
	case still != whole:
		return HotSnapshot{}, errPart
	}
	types, err := r.complete(ctx, groups)
	if err != nil {
		return HotSnapshot{}, err
	}
	listed := groups[:0]
	for i, g := range groups {
		if t := types[i]; t != "" && t != Direct && (typ == AllTypes || typ == string(t)) {
			listed = append(listed, g)
		}
	}
	entries, err := r.weigh(ctx, listed)
	if err != nil {
		return HotSnapshot{}, err
	}
	RankHot(entries)
	return HotSnapshot{ID: hotID(typ, nowMS, entries), TimeMS: nowMS, Entries: entries}, nil
}

// weigh makes lines of the groups that have any heat.
func (r *Ranking) weigh(ctx context.Context, groups []GroupHeat) ([]HotEntry, error) {
	entries := make([]HotEntry, 0, len(groups))
	for chunk := range slices.Chunk(groups, hotChunk) {
		var online map[string]int
		if r.cfg.Weights.Online > 0 {
			ids := make([]string, len(chunk))
			for i := range chunk {
				ids[i] = chunk[i].Group
			}
			var err error
			if online, err = r.cache.Online(ctx, ids); err != nil {
				return nil, Unavailable(fmt.Errorf("viewers of %d groups: %w", len(ids), err), "Redis")
			}
		}
		for _, g := range chunk {
			if heat := r.cfg.Weights.heat(g, online[g.Group]); heat > 0 {
				entries = append(entries, HotEntry{Group: g.Group, Heat: heat, LastMS: g.LastMS})
			}
		}
	}
	return entries, nil
}

// complete tells the groups' types, "" for those that are gone, and adds times of last messages that Redis did not know.
func (r *Ranking) complete(ctx context.Context, groups []GroupHeat) (types []GroupType, err error) {
	types = make([]GroupType, len(groups))
	var unknown []int
	r.mu.Lock()
	if len(r.types) > 2*len(groups)+MaxSyncGroups { // those that have cooled down
		clear(r.types)
	}
	for i := range groups {
		types[i] = r.types[groups[i].Group]
		if types[i] == "" || groups[i].LastMS == 0 {
			unknown = append(unknown, i)
		}
	}
	r.mu.Unlock()
	for chunk := range slices.Chunk(unknown, MaxSyncGroups) {
		ids := make([]string, len(chunk))
		for n, i := range chunk {
			ids[n] = groups[i].Group
		}
		heads, err := r.heads.Brief(ctx, ids)
		if err != nil {
			return nil, err
		}
		r.mu.Lock()
		for n, i := range chunk {
			if types[i] = ""; heads[n].Err == nil {
				types[i], groups[i].LastMS = heads[n].Type, heads[n].LastMS
				r.types[ids[n]] = types[i]
			}
		}
		r.mu.Unlock()
	}
	return types, nil
}

// forget has the next snapshot ask whether a group is still there.
func (r *Ranking) forget(group string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.types, group)
}

// hotID differs where the ranking does: two instances may take theirs in the same millisecond, and who pages through the
// one must not get into the other. It names its type, and so does a cursor by it.
func hotID(typ string, nowMS int64, entries []HotEntry) string {
	sum := fnv.New32a()
	var line []byte
	for i := range entries {
		e := &entries[i]
		line = append(append(line[:0], e.Group...), ' ')
		line = strconv.AppendInt(line, int64(e.Heat), 36)
		line = strconv.AppendInt(append(line, ' '), e.LastMS, 36)
		_, _ = sum.Write(append(line, '\n')) // a hash takes everything
	}
	return typ + "-" + strconv.FormatInt(nowMS, 36) + "-" + strconv.FormatUint(uint64(sum.Sum32()), 36)
}

// RankHot sorts by heat, then by the time of the last message, latest first, then by id, and numbers the lines
// from 1.
func RankHot(entries []HotEntry) {
	slices.SortFunc(entries, func(a, b HotEntry) int {
		if a.Heat != b.Heat {
			return cmp.Compare(b.Heat, a.Heat)
		}
		if a.LastMS != b.LastMS {
			return cmp.Compare(b.LastMS, a.LastMS)
		}
		return cmp.Compare(a.Group, b.Group)
	})
	for i := range entries {
		entries[i].Rank = i + 1
	}
}
