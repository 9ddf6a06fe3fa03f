package redisrepo

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hearth/domain"
)

var _ domain.RemainsCache = (*Store)(nil)

// Living names the instances that have told so lately.
func (s *Store) Living(ctx context.Context) ([]string, error) {
	instances, err := s.rdb.SMembers(ctx, instancesKey()).Result()
	if err != nil {
		return nil, fmt.Errorf("which instances live: %w", err)
	}
	alive, err := s.aliveAmong(ctx, instances)
	return slices.DeleteFunc(instances, func(i string) bool { return !alive[i] }), err
}

// Remaining are the groups that have seqs or recent messages, with the generations in which they have, ascending.
func (s *Store) Remaining(ctx context.Context) (map[string][]int64, error) {
	gens := make(map[string][]int64)
	put := func(group string, gen int64) {
		if !slices.Contains(gens[group], gen) {
			gens[group] = append(gens[group], gen)
		}
	}
	err := s.eachOfGen(ctx, "recent", func(of domain.LogRange, group string) { put(group, of.Gen) })
	var seeded []domain.LogRange
	if err == nil {
		err = s.eachOfGen(ctx, "seq", func(of domain.LogRange, _ string) { seeded = append(seeded, of) })
	}
	for _, of := range seeded {
		if err == nil {
			err = s.EachSeeded(ctx, of, func(groups []string) error {
				for _, group := range groups {
					put(group, of.Gen)
				}
				return nil
			})
		}
	}
	if err != nil {
		return nil, fmt.Errorf("groups that Redis knows: %w", err)
	}
	for _, list := range gens {
		slices.Sort(list)
	}
	return gens, nil
}

// eachOfGen goes through the keys of one kind, such as "seq" or "recent", of all partitions and generations; rest is what
// stands behind the generation.
func (s *Store) eachOfGen(ctx context.Context, kind string, found func(of domain.LogRange, rest string)) error {
	return s.eachKey(ctx, keysOf(kind), func(key string) {
		p, rest, ok := splitKey(key, kind)
		first, rest, _ := strings.Cut(rest, ":")
		if gen, err := strconv.ParseInt(first, 10, 64); ok && err == nil {
			found(domain.LogRange{Partition: p, Gen: gen}, rest)
		}
	})
}

// Logs are all write-behind logs.
func (s *Store) Logs(ctx context.Context) (logs []domain.LogRange, err error) {
	if err = s.eachOfGen(ctx, "log", func(of domain.LogRange, _ string) { logs = append(logs, of) }); err != nil {
		return nil, fmt.Errorf("logs: %w", err)
	}
	slices.SortFunc(logs, func(a, b domain.LogRange) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Gen, b.Gen))
	})
	return logs, nil
}

// EachEntries goes through a log, some entries at a time. Those that it has given may be taken off meanwhile.
func (s *Store) EachEntries(ctx context.Context, log domain.LogRange, found func([]domain.LogEntry) error) error {
	for from := "-"; ; {
		messages, err := s.rdb.XRangeN(ctx, logKey(log.Partition, log.Gen), from, "+", auditFields).Result()
		if err != nil {
			return fmt.Errorf("read log of partition %d: %w", log.Partition, err)
		}
		entries := make([]domain.LogEntry, len(messages))
		for i, m := range messages {
			if entries[i], err = logEntry(m, log.Gen); err != nil {
				return fmt.Errorf("log entry %s of partition %d: %w", m.ID, log.Partition, err)
			}
		}
		if len(entries) > 0 {
			if err := found(entries); err != nil {
				return err
			}
		}
		if len(entries) < auditFields {
			return nil
		}
		from = "(" + entries[len(entries)-1].ID
	}
}

// RemainsOf reads what the generations know of a group.
func (s *Store) RemainsOf(ctx context.Context, group string, gens []int64) (r domain.Remains, err error) {
	p := s.cfg.Partitions.Of(group)
	r = domain.Remains{Group: group, Marks: make(map[string]int64)}
	typ, err := s.rdb.HGet(ctx, groupKey(p, group), "*type").Result()
	if err = ignoreNil(err); err != nil {
		return r, fmt.Errorf("what remains of %s: %w", group, err)
	}
	for _, gen := range gens {
		if err := s.remainsIn(ctx, p, gen, domain.GroupType(typ), &r); err != nil {
			return r, fmt.Errorf("what remains of %s in generation %d: %w", group, gen, err)
		}
	}
	return r, nil
}

// remainsIn adds what a generation knows; those before it were added.
func (s *Store) remainsIn(ctx context.Context, p int, gen int64, typ domain.GroupType, r *domain.Remains) error {
	pipe := s.rdb.Pipeline()
	seq, holes := pipe.HGet(ctx, seqKey(p, gen), r.Group), pipe.HGet(ctx, holesKey(p, gen), r.Group)
	if err := execIgnoringNil(ctx, pipe); err != nil {
		return err
	}
	if seq.Val() != "" {
		top, err := seqOf(seq.Val())
		if err != nil {
			return err
		}
		if r.Holes, err = parseHoles(holes.Val()); err != nil {
			return err
		}
		r.Top = max(r.Top, top)
	}
	if err := s.recentRemains(ctx, p, gen, typ, r); err != nil {
		return err
	}
	return s.scanHashes(ctx, []string{readKey(p, gen, r.Group)}, func(_ int, user, mark string) error {
		n, err := strconv.ParseInt(mark, 10, 64)
		r.Marks[user] = max(r.Marks[user], n)
		return err
	})
}

func (s *Store) recentRemains(ctx context.Context, p int, gen int64, typ domain.GroupType, r *domain.Remains) error {
	fields, err := s.rdb.HGetAll(ctx, recalledKey(p, gen, r.Group)).Result()
	if err != nil {
		return err
	}
	recalls, err := recallsOf(r.Group, fields)
	if err != nil {
		return err
	}
	r.Recalls = append(r.Recalls, recalls...)
	defer func() { domain.ApplyRecalls(r.Messages, recalls) }()
	for from := "-"; ; {
		messages, err := s.rdb.XRangeN(ctx, recentKey(p, gen, r.Group), from, "+", auditFields).Result()
		if err != nil {
			return err
		}
		records, err := recentRecords(domain.Range{Group: r.Group}, messages)
		if err != nil {
			return err
		}
		for _, record := range records {
			m, err := domain.MessageOf(record)
			if err != nil {
				return err
			}
			m.Gen, m.GroupType = gen, typ
			r.Messages = append(r.Messages, m)
			r.Top = max(r.Top, m.Seq)
		}
		if len(messages) < auditFields {
			return nil
		}
		from = "(" + messages[len(messages)-1].ID
	}
}

// ForgetGroups drops what is cached of groups and of who is in them.
func (s *Store) ForgetGroups(ctx context.Context) error {
	for _, pattern := range []string{keysOf("group"), keysOf("mine")} {
		var keys []string
		err := s.eachKey(ctx, pattern, func(key string) { keys = append(keys, key) })
		for chunk := range slices.Chunk(keys, auditFields) {
			pipe := s.rdb.Pipeline()
			for _, key := range chunk { // one by one: they lie in different slots
				pipe.Unlink(ctx, key)
			}
			if err == nil {
				_, err = pipe.Exec(ctx)
			}
		}
		if err != nil {
			return fmt.Errorf("forget cached groups: %w", err)
		}
	}
	return nil
}
