package redisrepo

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

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
	gen                    int64
	standing               *generationCheck
	groups                 []string
	seqs, persisted, holes *redis.SliceCmd
}

// Heads reads what Redis knows of each group, in one round trip; see domain.HeadCache. A Redis that is in another
// generation is not believed: emptied, it would know nothing, and MySQL may lack what was shown already. Nor is one whose
// generation is closed here: others may have accepted messages in the next one, on another master.
func (s *Store) Heads(ctx context.Context, user string, groups []string) ([]domain.CachedHead, error) {
	if len(groups) == 0 {
		return nil, nil
	}
	for try := 1; ; try++ {
		heads, over, err := s.readHeads(ctx, user, groups)
		if err != nil {
			return nil, err
		}
		if over == nil {
			return heads, s.addFloors(ctx, heads)
		}
		if err := s.renewed(ctx, over.Partition, over.Gen, try); err != nil {
			return nil, err
		}
	}
}

// readHeads also names a partition that turned out to be in another generation.
func (s *Store) readHeads(ctx context.Context, user string, groups []string) (heads []domain.CachedHead, over *domain.LogRange, err error) {
	pipe := s.rdb.Pipeline()
	cmds := make([]headCmds, len(groups))
	partitions := make(map[int]*partitionNumbers)
	for i, group := range groups {
		p, gen := s.of(group)
		c := &cmds[i]
		c.gen = gen
		c.group = pipe.HMGet(ctx, groupKey(p, group), "*loaded", "*type", "*flags", "*join", "*name", "*version", user)
		if user != "" {
			c.read = pipe.HMGet(ctx, readKey(p, gen, group), user)
		}
		if c.numbers = partitions[p]; c.numbers == nil {
			c.numbers = &partitionNumbers{gen: gen}
			partitions[p] = c.numbers
		}
		c.index = len(c.numbers.groups)
		c.numbers.groups = append(c.numbers.groups, group)
	}
	for p, n := range partitions {
		n.seqs = pipe.HMGet(ctx, seqKey(p, n.gen), n.groups...)
		n.persisted = pipe.HMGet(ctx, persistedKey(p, n.gen), n.groups...)
		n.holes = pipe.HMGet(ctx, holesKey(p, n.gen), n.groups...)
	}
	vouch := s.newVouch() // behind all reads: a server that is emptied among them has no generation then
	for p, n := range partitions {
		n.standing = vouch.check(ctx, pipe, p)
	}
	if err := execIgnoringNil(ctx, pipe); err != nil {
		return nil, nil, fmt.Errorf("read %d heads: %w", len(groups), err)
	}
	for p, n := range partitions {
		if !n.standing.is(n.gen) || s.journal.Over(n.groups[0], n.gen) { // an old master says of itself that it is right
			return nil, &domain.LogRange{Partition: p, Gen: n.gen}, nil
		}
	}
	heads = make([]domain.CachedHead, len(groups))
	for i, group := range groups {
		heads[i].Group = group
		if err := cmds[i].into(&heads[i]); err != nil {
			return nil, nil, fmt.Errorf("head of %s: %w", group, err)
		}
	}
	return heads, nil, nil
}

func (c *headCmds) into(h *domain.CachedHead) error {
	if group := c.group.Val(); field(group, 0) == strconv.FormatInt(c.gen, 10) {
		h.GroupLoaded = true
		h.Type = domain.GroupType(field(group, 1))
		flags := field(group, 2)
		h.Dismissed, h.Muted = strings.Contains(flags, "d"), strings.Contains(flags, "m")
		h.Join, h.Name = field(group, 3), field(group, 4)
		h.Version, _ = strconv.ParseInt(field(group, 5), 10, 64) // 0 means unknown
		h.Role = roleOf(field(group, 6))
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

func roleOf(member string) domain.Role {
	role, _, _ := strings.Cut(member, ":")
	return domain.Role(role)
}

// Roles reads the places of users in a group; see domain.HeadCache.
func (s *Store) Roles(ctx context.Context, group string, users []string) (map[string]domain.Role, bool, error) {
	p, gen := s.of(group)
	values, err := s.rdb.HMGet(ctx, groupKey(p, group), append([]string{"*loaded"}, users...)...).Result()
	if err != nil {
		return nil, false, fmt.Errorf("roles in %s: %w", group, err)
	}
	if field(values, 0) != strconv.FormatInt(gen, 10) || s.journal.Over(group, gen) {
		return nil, false, nil
	}
	roles := make(map[string]domain.Role, len(users))
	for i, user := range users {
		if role := roleOf(field(values, i+1)); role != domain.Outsider {
			roles[user] = role
		}
	}
	return roles, true, nil
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
