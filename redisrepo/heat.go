package redisrepo

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"hearth/domain"
)

const (
	expireBatch = 1000
	heatBatch   = 500 // speakers in a call of the script, which takes about a millisecond for them

	// What one page is explained with is bounded, for Redis does nothing else meanwhile: the latest speakers of each
	// partition are looked at, and the latest of each group are told.
	explainLook = 10_000
	explainMost = 1_000
)

// Heat expires what has left the window, then reads every group's heat; see domain.HeatCache.
func (s *Store) Heat(ctx context.Context) (scores map[string]int, nowMS int64, err error) {
	for p := range int(s.cfg.Partitions) {
		if nowMS, err = s.expireSpeakers(ctx, p); err != nil {
			return nil, 0, err
		}
	}
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.ZSliceCmd, s.cfg.Partitions)
	for p := range cmds {
		cmds[p] = pipe.ZRangeWithScores(ctx, heatKey(p), 0, -1)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, 0, fmt.Errorf("read heat: %w", err)
	}
	scores = make(map[string]int)
	for _, c := range cmds {
		for _, z := range c.Val() {
			if group, ok := z.Member.(string); ok && z.Score > 0 {
				scores[group] = int(z.Score)
			}
		}
	}
	return scores, nowMS, nil
}

// expireSpeakers takes out what is older than the window, a bounded number at a time so that sends get between.
func (s *Store) expireSpeakers(ctx context.Context, p int) (nowMS int64, err error) {
	for {
		reply, err := s.run(ctx, expireScript, []string{speakersKey(p), heatKey(p)}, s.cfg.HeatWindow.Milliseconds(), expireBatch).Slice()
		if err != nil || len(reply) != 2 {
			return 0, fmt.Errorf("expire speakers of partition %d: %w", p, err)
		}
		expired, _ := reply[0].(int64)
		now, _ := reply[1].(string)
		if nowMS, err = strconv.ParseInt(now, 10, 64); err != nil {
			return 0, fmt.Errorf("expire speakers of partition %d: time: %w", p, err)
		}
		if expired < expireBatch {
			return nowMS, nil
		}
	}
}

// Speakers are those who count in the heat of groups now, the latest first, read in one round trip. Of a group with very
// many, or in a partition with very many, they are not all.
func (s *Store) Speakers(ctx context.Context, groups []string) ([]domain.Speaker, error) {
	of := make(map[int][]any)
	for _, group := range groups {
		p := s.cfg.Partitions.Of(group)
		of[p] = append(of[p], group)
	}
	calls := make([]scriptCall, 0, len(of))
	for p, groups := range of {
		args := append([]any{s.cfg.HeatWindow.Milliseconds(), explainLook, explainMost}, groups...)
		calls = append(calls, scriptCall{keys: []string{speakersKey(p)}, args: args})
	}
	cmds, err := s.runEach(ctx, spokeScript, calls)
	if err != nil {
		return nil, fmt.Errorf("speakers of %d groups: %w", len(groups), err)
	}
	var speakers []domain.Speaker
	for _, c := range cmds {
		told, err := c.StringSlice()
		if err != nil {
			return nil, fmt.Errorf("speakers of %d groups: %w", len(groups), err)
		}
		for ; len(told) >= 3; told = told[3:] {
			ms, err := strconv.ParseFloat(told[2], 64)
			if err != nil {
				return nil, fmt.Errorf("time of a speaker of %s: %w", told[0], err)
			}
			speakers = append(speakers, domain.Speaker{Group: told[0], User: told[1], TimeMS: int64(ms)})
		}
	}
	return speakers, nil
}

// ExpireHeat expires what has left the window in some partitions, whether anybody speaks there, or asks, or not. It
// returns how many groups have any heat there.
func (s *Store) ExpireHeat(ctx context.Context, partitions []int) (groups int64, err error) {
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.IntCmd, len(partitions))
	for i, p := range partitions {
		if _, err := s.expireSpeakers(ctx, p); err != nil {
			return 0, err
		}
		cmds[i] = pipe.ZCard(ctx, heatKey(p))
	}
	if len(cmds) == 0 {
		return 0, nil
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return 0, fmt.Errorf("groups with heat in %d partitions: %w", len(partitions), err)
	}
	for _, c := range cmds {
		groups += c.Val()
	}
	return groups, nil
}

// WithoutHeat is those of some partitions' generations whose heat was not brought back yet.
func (s *Store) WithoutHeat(ctx context.Context, gens []domain.LogRange) (missing []domain.LogRange, err error) {
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.StringCmd, len(gens))
	for i, g := range gens {
		cmds[i] = pipe.HGet(ctx, genKey(g.Partition), "heat")
	}
	if err := execIgnoringNil(ctx, pipe); err != nil {
		return nil, fmt.Errorf("whether %d partitions have their heat: %w", len(gens), err)
	}
	for i, g := range gens {
		if cmds[i].Val() != strconv.FormatInt(g.Gen, 10) {
			missing = append(missing, g)
		}
	}
	return missing, nil
}

// AddHeat brings back the heat of a partition's generation: speakers are all who may count, of the groups of that
// partition. It fails when the generation is no longer the one. It may be called again, by anybody, at any time.
func (s *Store) AddHeat(ctx context.Context, gen domain.LogRange, speakers []domain.Speaker) error {
	keys := []string{genKey(gen.Partition), speakersKey(gen.Partition), heatKey(gen.Partition)}
	for {
		batch, last := speakers, "last"
		if len(batch) > heatBatch {
			batch, last = batch[:heatBatch], "more"
		}
		args := make([]any, 0, 3+3*len(batch))
		args = append(args, gen.Gen, s.cfg.HeatWindow.Milliseconds(), last)
		for _, speaker := range batch {
			args = append(args, speaker.Group, speaker.User, speaker.TimeMS)
		}
		word, err := s.run(ctx, heatScript, keys, args...).Text()
		if err != nil {
			return fmt.Errorf("heat of partition %d: %w", gen.Partition, orFull(err))
		}
		if word != "OK" {
			return fmt.Errorf("heat of partition %d: generation %d is no longer current", gen.Partition, gen.Gen)
		}
		if speakers = speakers[len(batch):]; last == "last" {
			return nil
		}
	}
}

// CurrentSnapshot is the id of the snapshot that serves everybody now; "" when a new one is due.
func (s *Store) CurrentSnapshot(ctx context.Context, typ string) (string, error) {
	id, err := s.rdb.Get(ctx, hotKey(typ)).Result()
	if err = ignoreNil(err); err != nil {
		return "", fmt.Errorf("current snapshot: %w", err)
	}
	return id, nil
}

// SaveSnapshot keeps a snapshot: a list with the time first and a line a group behind it.
func (s *Store) SaveSnapshot(ctx context.Context, typ string, snapshot domain.HotSnapshot, ttl, paging time.Duration) error {
	lines := make([]any, 0, 1+len(snapshot.Entries))
	lines = append(lines, snapshot.TimeMS)
	for _, e := range snapshot.Entries {
		line, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("snapshot line of %s: %w", e.Group, err)
		}
		lines = append(lines, line)
	}
	pipe := s.rdb.TxPipeline()
	if s.cfg.Mode == "cluster" { // the two keys lie in different slots, and nobody asks for the list before the id
		pipe = s.rdb.Pipeline()
	}
	list := hotSnapshotKey(typ, snapshot.ID)
	pipe.Del(ctx, list)
	pipe.RPush(ctx, list, lines...)
	pipe.PExpire(ctx, list, paging)
	pipe.Set(ctx, hotKey(typ), snapshot.ID, ttl)
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("save snapshot of %d groups: %w", len(snapshot.Entries), err)
	}
	return nil
}

// SnapshotPage reads limit lines from a snapshot.
func (s *Store) SnapshotPage(ctx context.Context, typ, id string, from, limit int) (page domain.HotSnapshot, total int, ok bool, err error) {
	list := hotSnapshotKey(typ, id)
	pipe := s.rdb.TxPipeline() // as one, or the list can expire between its length and its lines
	length := pipe.LLen(ctx, list)
	first := pipe.LIndex(ctx, list, 0)
	lines := pipe.LRange(ctx, list, int64(1+from), int64(from+limit))
	if _, err := pipe.Exec(ctx); ignoreNil(err) != nil {
		return page, 0, false, fmt.Errorf("page of snapshot: %w", err)
	}
	if length.Val() == 0 {
		return page, 0, false, nil
	}
	page.ID = id
	if page.TimeMS, err = strconv.ParseInt(first.Val(), 10, 64); err != nil {
		return page, 0, false, fmt.Errorf("time of snapshot: %w", err)
	}
	decoder := json.NewDecoder(strings.NewReader(strings.Join(lines.Val(), "\n")))
	for range lines.Val() {
		var e domain.HotEntry
		if err := decoder.Decode(&e); err != nil {
			return page, 0, false, fmt.Errorf("line of snapshot: %w", err)
		}
		page.Entries = append(page.Entries, e)
	}
	return page, int(length.Val()) - 1, true, nil
}
