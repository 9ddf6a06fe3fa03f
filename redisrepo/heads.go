package redisrepo

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"hearth/domain"
)

func ignoreNil(err error) error {
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}

// headCmds are the commands that answer one head; those of a partition's hashes are shared by its groups.
type headCmds struct {
	group, read *redis.SliceCmd
	numbers     *partitionNumbers
	index       int // of the group in numbers
	gen         int64
}

// partitionNumbers reads one field of each hash for each group of a partition.
type partitionNumbers struct {
	groups                 []string
	seqs, persisted, holes *redis.SliceCmd
}

// Heads reads what Redis knows of each group, in one round trip; see domain.HeadCache.
func (s *Store) Heads(ctx context.Context, user string, groups []string) ([]domain.CachedHead, error) {
	if len(groups) == 0 {
		return nil, nil
	}
	pipe := s.rdb.Pipeline()
	cmds := make([]headCmds, len(groups))
	partitions := make(map[int]*partitionNumbers)
	for i, group := range groups {
		p, gen := s.of(group)
		c := &cmds[i]
		c.gen = gen
		c.group = pipe.HMGet(ctx, groupKey(p, group), "*loaded", "*type", "*flags", "*join", "*name", user)
		if user != "" {
			c.read = pipe.HMGet(ctx, readKey(p, gen, group), user)
		}
		if c.numbers = partitions[p]; c.numbers == nil {
			c.numbers = &partitionNumbers{}
			partitions[p] = c.numbers
		}
		c.index = len(c.numbers.groups)
		c.numbers.groups = append(c.numbers.groups, group)
	}
	for p, n := range partitions {
		gen := s.gens(p)
		n.seqs = pipe.HMGet(ctx, seqKey(p, gen), n.groups...)
		n.persisted = pipe.HMGet(ctx, persistedKey(p, gen), n.groups...)
		n.holes = pipe.HMGet(ctx, holesKey(p, gen), n.groups...)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("read %d heads: %w", len(groups), err)
	}
	heads := make([]domain.CachedHead, len(groups))
	for i, group := range groups {
		heads[i].Group = group
		if err := cmds[i].into(&heads[i]); err != nil {
			return nil, fmt.Errorf("head of %s: %w", group, err)
		}
	}
	return heads, nil
}

func (c *headCmds) into(h *domain.CachedHead) error {
	if group := c.group.Val(); field(group, 0) == strconv.FormatInt(c.gen, 10) {
		h.GroupLoaded = true
		h.Type = domain.GroupType(field(group, 1))
		flags := field(group, 2)
		h.Dismissed, h.Muted = strings.Contains(flags, "d"), strings.Contains(flags, "m")
		h.Join, h.Name = field(group, 3), field(group, 4)
		role, _, _ := strings.Cut(field(group, 5), ":")
		h.Role = domain.Role(role)
	}
	if c.read != nil {
		if mark := field(c.read.Val(), 0); mark != "" {
			n, err := strconv.ParseInt(mark, 10, 64)
			if err != nil {
				return fmt.Errorf("read mark: %w", err)
			}
			h.ReadLoaded, h.ReadSeq = true, n
		}
	}
	return c.numbers.into(c.index, h)
}

func (n *partitionNumbers) into(i int, h *domain.CachedHead) (err error) {
	seq, ms, ok := strings.Cut(field(n.seqs.Val(), i), " ")
	if !ok {
		return nil
	}
	h.Seeded = true
	if h.MaxSeq, err = strconv.ParseInt(seq, 10, 64); err != nil {
		return fmt.Errorf("seq: %w", err)
	}
	if h.LastMS, err = strconv.ParseInt(ms, 10, 64); err != nil {
		return fmt.Errorf("time of the last message: %w", err)
	}
	if mark := field(n.persisted.Val(), i); mark != "" {
		if h.PersistedSeq, err = strconv.ParseInt(mark, 10, 64); err != nil {
			return fmt.Errorf("watermark: %w", err)
		}
	}
	h.Holes, err = parseHoles(field(n.holes.Val(), i))
	return err
}

func field(values []any, i int) string {
	s, _ := values[i].(string)
	return s
}

// Holes are kept as '<from>-<to>:<reason>' joined by spaces.
func formatHoles(holes domain.Holes) string {
	var b strings.Builder
	for i, h := range holes {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%d-%d:%s", h.From, h.To, h.Reason)
	}
	return b.String()
}

func parseHoles(s string) (domain.Holes, error) {
	var holes domain.Holes
	for text := range strings.FieldsSeq(s) {
		var h domain.Hole
		if _, err := fmt.Sscanf(text, "%d-%d:%s", &h.From, &h.To, &h.Reason); err != nil {
			return nil, fmt.Errorf("hole: %w", err)
		}
		holes = append(holes, h)
	}
	return holes, nil
}

// FillGroup caches a group and its members, unless a newer version is known.
func (s *Store) FillGroup(ctx context.Context, g *domain.GroupSnapshot) error {
	p, gen := s.of(g.ID)
	args := make([]any, 0, 6+2*len(g.Members))
	args = append(args, gen, g.Version, string(g.Type), flags(&g.Group), g.Join, g.Name)
	for _, m := range g.Members {
		args = append(args, m.User, memberValue(m))
	}
	err := s.run(ctx, fillScript, []string{genKey(p), groupKey(p, g.ID)}, args...).Err()
	if err != nil {
		return fmt.Errorf("fill group %s: %w", g.ID, err)
	}
	return nil
}

// flags are one letter each: d dismissed, m muted.
func flags(g *domain.Group) string {
	s := ""
	if g.Dismissed {
		s += "d"
	}
	if g.Muted {
		s += "m"
	}
	return s
}

func memberValue(m domain.Membership) string {
	return string(m.Role) + ":" + strconv.FormatInt(m.MuteUntilMS, 10)
}

// Changed brings a change to the cached group; see domain.GroupCache.
func (s *Store) Changed(ctx context.Context, c *domain.GroupChange) error {
	p, gen := s.of(c.ID)
	keys := []string{groupKey(p, c.ID), readKey(p, gen, c.ID), heatKey(p)}
	version := strconv.FormatInt(c.Version, 10)
	if c.Raised {
		version += "+"
	}
	args := []any{c.ID, gen, version, string(c.Type), flags(&c.Group), c.Join, c.Name, len(c.Put), len(c.Removed), len(c.Joined)}
	for _, m := range c.Put {
		args = append(args, m.User, memberValue(m))
	}
	for _, user := range c.Removed {
		args = append(args, user)
	}
	for _, user := range c.Joined {
		args = append(args, user)
	}
	if err := s.run(ctx, changeScript, keys, args...).Err(); err != nil {
		return fmt.Errorf("change of group %s: %w", c.ID, err)
	}
	return nil
}

// FillReads caches read marks; those already there stay.
func (s *Store) FillReads(ctx context.Context, marks map[domain.GroupUser]int64) error {
	pipe := s.rdb.Pipeline()
	for m, seq := range marks {
		p, gen := s.of(m.Group)
		pipe.HSetNX(ctx, readKey(p, gen, m.Group), m.User, seq)
		pipe.Expire(ctx, readKey(p, gen, m.Group), idleTTL)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("fill %d read marks: %w", len(marks), err)
	}
	return nil
}

// MarkRead moves a read mark forward; see domain.ReadMarker.
func (s *Store) MarkRead(ctx context.Context, group, user string, seq, known int64) (int64, error) {
	p, gen := s.of(group)
	keys := []string{genKey(p), readKey(p, gen, group), dirtyKey(p, gen)}
	reply, err := s.run(ctx, readScript, keys, gen, group, user, seq, known, idleTTL.Milliseconds()).Text()
	if err != nil {
		return 0, fmt.Errorf("read mark in %s: %w", group, err)
	}
	mark, err := strconv.ParseInt(reply, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read mark in %s: generation %d: %s", group, gen, reply)
	}
	return mark, nil
}

// SetSeeds gives groups their starting seqs; see domain.SeedCache.
func (s *Store) SetSeeds(ctx context.Context, partition int, gen int64, seeds map[string]domain.Seed) error {
	if err := s.rememberSends(ctx, partition, gen, seeds); err != nil {
		return err
	}
	keys := []string{genKey(partition), seqKey(partition, gen), holesKey(partition, gen), persistedKey(partition, gen)}
	args := []any{gen}
	for group, seed := range seeds {
		value := strconv.FormatInt(seed.Start, 10) + " " + strconv.FormatInt(seed.LastMS, 10)
		args = append(args, group, value, formatHoles(seed.Holes), seed.Start)
	}
	word, err := s.run(ctx, seedScript, keys, args...).Text()
	if err != nil {
		return fmt.Errorf("seed %d groups: %w", len(seeds), err)
	}
	if word != "OK" {
		return fmt.Errorf("seed %d groups: generation %d is no longer current", len(seeds), gen)
	}
	return nil
}

// rememberSends keeps the idempotency keys of a former generation in this one, before its first append.
func (s *Store) rememberSends(ctx context.Context, partition int, gen int64, seeds map[string]domain.Seed) error {
	now, err := s.NowMS(ctx)
	if err != nil {
		return err
	}
	pipe := s.rdb.Pipeline()
	for _, seed := range seeds {
		for _, r := range seed.Recent {
			left := domain.DedupeWindow - time.Duration(now-r.TimeMS)*time.Millisecond
			if left > 0 {
				value := fmt.Sprintf("%d %d %s", r.Seq, r.TimeMS, r.Hash)
				pipe.SetNX(ctx, dedupeKey(partition, gen, r.Dedupe), value, left)
			}
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("remember the sends of a former generation: %w", err)
	}
	return nil
}

// Recent answers each range from the newest messages that Redis keeps, in one round trip.
func (s *Store) Recent(ctx context.Context, ranges []domain.Range) ([][]domain.Record, error) {
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.XMessageSliceCmd, len(ranges))
	for i, r := range ranges {
		p, gen := s.of(r.Group)
		key := recentKey(p, gen, r.Group)
		from, to := streamID(r.From), streamID(r.To)
		if r.Last {
			cmds[i] = pipe.XRevRangeN(ctx, key, to, from, int64(r.Limit))
		} else {
			cmds[i] = pipe.XRangeN(ctx, key, from, to, int64(r.Limit))
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("read recent messages of %d groups: %w", len(ranges), err)
	}
	results := make([][]domain.Record, len(ranges))
	for i, r := range ranges {
		records, err := recentRecords(r, cmds[i].Val())
		if err != nil {
			return nil, err
		}
		results[i] = records
	}
	return results, nil
}

func streamID(seq int64) string { return strconv.FormatInt(max(0, seq), 10) + "-0" }

func recentRecords(r domain.Range, messages []redis.XMessage) ([]domain.Record, error) {
	records := make([]domain.Record, len(messages))
	for i, m := range messages {
		seq, err := strconv.ParseInt(strings.TrimSuffix(m.ID, "-0"), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("recent message %s of %s: %w", m.ID, r.Group, err)
		}
		tail, _ := m.Values["m"].(string)
		at := i
		if r.Last {
			at = len(messages) - 1 - i
		}
		if records[at], err = domain.RecordFromTail(r.Group, seq, []byte(tail)); err != nil {
			return nil, err
		}
	}
	return records, nil
}
