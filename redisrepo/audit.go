package redisrepo

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"hearth/domain"
)

var _ domain.AuditCache = (*Store)(nil)

const (
	auditRecent = 100  // messages of a group in one answer
	auditFields = 1000 // of a hash, or entries of a log
)

// audited is a group under audit, with the keys that it is read from.
type audited struct {
	*domain.AuditedCache
	group     string
	partition int
	gen       int64
}

// AuditGroups reads what an audit compares with MySQL. It only reads, and never much in one command.
func (s *Store) AuditGroups(ctx context.Context, gens []int64, groups []string) (map[string]*domain.AuditedCache, error) {
	all := make(map[string]*domain.AuditedCache, len(groups))
	list := make([]audited, len(groups))
	for i, group := range groups {
		p := s.cfg.Partitions.Of(group)
		all[group] = &domain.AuditedCache{
			Pending: make(map[int64]bool), Recent: make(map[int64]domain.Digest),
			Marks: make(map[string]int64), Dirty: make(map[string]int64),
		}
		list[i] = audited{all[group], group, p, gens[p]}
	}
	for _, read := range []func(context.Context, []audited) error{
		s.auditNumbers, s.auditLogs, s.auditRecent, s.auditMembers, s.auditMarks, s.auditDirty,
	} {
		if err := read(ctx, list); err != nil {
			return nil, fmt.Errorf("audit %d groups: %w", len(groups), err)
		}
	}
	return all, nil
}

func (s *Store) auditNumbers(ctx context.Context, list []audited) error {
	pipe := s.rdb.Pipeline()
	persisted, seqs := make([]*redis.StringCmd, len(list)), make([]*redis.StringCmd, len(list))
	holes, floors := make([]*redis.StringCmd, len(list)), make([]*redis.StringCmd, len(list))
	for i, a := range list { // first, because a seq read later is never below its watermark
		persisted[i] = pipe.HGet(ctx, persistedKey(a.partition, a.gen), a.group)
	}
	for i, a := range list {
		seqs[i] = pipe.HGet(ctx, seqKey(a.partition, a.gen), a.group)
		holes[i] = pipe.HGet(ctx, holesKey(a.partition, a.gen), a.group)
		floors[i] = pipe.HGet(ctx, floorKey(a.partition, a.gen), a.group)
	}
	if err := execIgnoringNil(ctx, pipe); err != nil {
		return err
	}
	for i, a := range list {
		if err := a.numbers(persisted[i].Val(), seqs[i].Val(), holes[i].Val(), floors[i].Val()); err != nil {
			return fmt.Errorf("numbers of %s: %w", a.group, err)
		}
	}
	return nil
}

func (a audited) numbers(persisted, seq, holes, floor string) (err error) {
	if seq == "" {
		if floor != "" {
			f, err := parseFloor(floor)
			a.Floor = &f
			return err
		}
		return nil
	}
	a.Seeded = true
	if a.Seq, err = seqOf(seq); err != nil {
		return err
	}
	if persisted != "" {
		if a.Persisted, err = strconv.ParseInt(persisted, 10, 64); err != nil {
			return err
		}
	}
	a.Holes, err = parseHoles(holes)
	return err
}

// seqOf is the seq of an entry of seq:<gen>.
func seqOf(entry string) (int64, error) {
	seq, _, _ := strings.Cut(entry, " ")
	return strconv.ParseInt(seq, 10, 64)
}

// auditLogs reads the logs of all partitions that the groups are in: what is up to a watermark must not be in them.
func (s *Store) auditLogs(ctx context.Context, list []audited) error {
	logs := make(map[domain.LogRange]map[string]audited)
	for _, a := range list {
		log := domain.LogRange{Partition: a.partition, Gen: a.gen}
		if logs[log] == nil {
			logs[log] = make(map[string]audited)
		}
		logs[log][a.group] = a
	}
	for log, groups := range logs {
		err := s.EachLogged(ctx, log, func(m *domain.Message) {
			if a, ok := groups[m.Group]; ok {
				a.Pending[m.Seq] = true
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// EachLogged goes through the messages in a log, from its start; they have no body.
func (s *Store) EachLogged(ctx context.Context, log domain.LogRange, found func(m *domain.Message)) error {
	return s.EachEntries(ctx, log, func(entries []domain.LogEntry) error {
		for i := range entries {
			if entries[i].Recall != nil {
				continue
			}
			entries[i].Body = nil
			found(&entries[i].Message)
		}
		return nil
	})
}

// auditRecent reads all groups side by side, a piece of each at a time.
func (s *Store) auditRecent(ctx context.Context, list []audited) error {
	next := make([]string, len(list)) // where to go on; "": done
	for i := range next {
		next[i] = "-"
	}
	for {
		pipe := s.rdb.Pipeline()
		cmds := make([]*redis.XMessageSliceCmd, len(list))
		for i, a := range list {
			if next[i] != "" {
				cmds[i] = pipe.XRangeN(ctx, recentKey(a.partition, a.gen, a.group), next[i], "+", auditRecent)
			}
		}
		if pipe.Len() == 0 {
			return nil
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
		for i, cmd := range cmds {
			if cmd == nil {
				continue
			}
			messages := cmd.Val()
			if err := list[i].recent(messages); err != nil {
				return err
			}
			if next[i] = ""; len(messages) == auditRecent {
				next[i] = "(" + messages[len(messages)-1].ID
			}
		}
	}
}

func (a audited) recent(messages []redis.XMessage) error {
	for _, m := range messages {
		seq, err := strconv.ParseInt(strings.TrimSuffix(m.ID, "-0"), 10, 64)
		if err != nil {
			return fmt.Errorf("recent message %s of %s: %w", m.ID, a.group, err)
		}
		tail, _ := m.Values["m"].(string)
		a.Recent[seq] = domain.TailDigest([]byte(tail))
	}
	return nil
}

// auditMembers leaves out groups whose version changes while a large hash is read.
func (s *Store) auditMembers(ctx context.Context, list []audited) error {
	before, err := s.cachedVersions(ctx, list)
	if err != nil {
		return err
	}
	keys := make([]string, len(list))
	for i, a := range list {
		if before[i].loaded == strconv.FormatInt(a.gen, 10) {
			keys[i] = groupKey(a.partition, a.group)
		}
	}
	members := make([]map[string]domain.Membership, len(list))
	err = s.scanHashes(ctx, keys, func(i int, user, value string) error {
		if members[i] == nil {
			members[i] = make(map[string]domain.Membership)
		}
		if strings.HasPrefix(user, "*") {
			return nil
		}
		role, mute, _ := strings.Cut(value, ":")
		until, err := strconv.ParseInt(mute, 10, 64)
		members[i][user] = domain.Membership{User: user, Role: domain.Role(role), MuteUntilMS: until}
		return err
	})
	if err != nil {
		return fmt.Errorf("members: %w", err)
	}
	after, err := s.cachedVersions(ctx, list)
	if err != nil {
		return err
	}
	for i, a := range list {
		if before[i] != after[i] || keys[i] == "" {
			continue
		}
		a.Members = members[i]
		if a.Version, err = strconv.ParseInt(before[i].version, 10, 64); err != nil {
			return fmt.Errorf("version of %s: %w", a.group, err)
		}
	}
	return nil
}

type cachedVersion struct{ loaded, version string }

func (s *Store) cachedVersions(ctx context.Context, list []audited) ([]cachedVersion, error) {
	if len(list) == 0 {
		return nil, nil
	}
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.SliceCmd, len(list))
	for i, a := range list {
		cmds[i] = pipe.HMGet(ctx, groupKey(a.partition, a.group), "*loaded", "*version")
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("versions: %w", err)
	}
	versions := make([]cachedVersion, len(list))
	for i, c := range cmds {
		versions[i] = cachedVersion{field(c.Val(), 0), field(c.Val(), 1)}
	}
	return versions, nil
}

func (s *Store) auditMarks(ctx context.Context, list []audited) error {
	keys := make([]string, len(list))
	for i, a := range list {
		keys[i] = readKey(a.partition, a.gen, a.group)
	}
	err := s.scanHashes(ctx, keys, func(i int, user, mark string) (err error) {
		list[i].Marks[user], err = strconv.ParseInt(mark, 10, 64)
		return err
	})
	if err != nil {
		return fmt.Errorf("read marks: %w", err)
	}
	return nil
}

// auditDirty comes behind auditMarks: a mark that is not dirty any more is in MySQL.
func (s *Store) auditDirty(ctx context.Context, list []audited) error {
	of := make(map[string]audited, len(list))
	var keys []string
	for _, a := range list {
		of[a.group] = a
		if key := dirtyKey(a.partition, a.gen); len(a.Marks) > 0 && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	err := s.scanHashes(ctx, keys, func(_ int, name, mark string) error {
		group, user, _ := strings.Cut(name, "|")
		seq, err := strconv.ParseInt(mark, 10, 64)
		if a, ok := of[group]; ok {
			a.Dirty[user] = seq
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("unwritten read marks: %w", err)
	}
	return nil
}

// scanHashes reads hashes side by side, a piece of each at a time; key "" is none. A field may be found twice.
func (s *Store) scanHashes(ctx context.Context, keys []string, found func(i int, field, value string) error) error {
	keys = slices.Clone(keys)
	cursors := make([]uint64, len(keys))
	for {
		pipe := s.rdb.Pipeline()
		cmds := make([]*redis.ScanCmd, len(keys))
		for i, key := range keys {
			if key != "" {
				cmds[i] = pipe.HScan(ctx, key, cursors[i], "", auditFields)
			}
		}
		if pipe.Len() == 0 {
			return nil
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
		for i, cmd := range cmds {
			if cmd == nil {
				continue
			}
			var fields []string
			if fields, cursors[i] = cmd.Val(); cursors[i] == 0 {
				keys[i] = ""
			}
			for n := 0; n+1 < len(fields); n += 2 {
				if err := found(i, fields[n], fields[n+1]); err != nil {
					return err
				}
			}
		}
	}
}

// AuditSeqs reads the seqs of groups; 0 for those that are not seeded.
func (s *Store) AuditSeqs(ctx context.Context, gens []int64, groups []string) (map[string]int64, error) {
	seqs := make(map[string]int64, len(groups))
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.StringCmd, len(groups))
	for i, group := range groups {
		p := s.cfg.Partitions.Of(group)
		cmds[i] = pipe.HGet(ctx, seqKey(p, gens[p]), group)
	}
	if len(groups) == 0 {
		return seqs, nil
	}
	if err := execIgnoringNil(ctx, pipe); err != nil {
		return nil, fmt.Errorf("seqs of %d groups: %w", len(groups), err)
	}
	for i, c := range cmds {
		if c.Val() == "" {
			continue
		}
		var err error
		if seqs[groups[i]], err = seqOf(c.Val()); err != nil {
			return nil, fmt.Errorf("seq of %s: %w", groups[i], err)
		}
	}
	return seqs, nil
}

// AuditHeat reads a partition's speakers and heat in one step.
func (s *Store) AuditHeat(ctx context.Context, partition int) (h domain.AuditedHeat, err error) {
	reply, err := s.run(ctx, rankedScript, []string{genKey(partition), speakersKey(partition), heatKey(partition)}).Slice()
	if err == nil && len(reply) != 4 {
		err = fmt.Errorf("an answer of %d parts", len(reply))
	}
	if err != nil {
		return h, fmt.Errorf("heat of partition %d: %w", partition, err)
	}
	now, _ := reply[0].(string)
	if h.NowMS, err = strconv.ParseInt(now, 10, 64); err != nil {
		return h, fmt.Errorf("heat of partition %d: time: %w", partition, err)
	}
	h.Whole = reply[1] == "whole"
	h.Speakers, h.Heat = make(map[domain.GroupUser]int64), make(map[string]int)
	eachScore(reply[2], func(member string, score float64) {
		group, user, _ := strings.Cut(member, "|")
		h.Speakers[domain.GroupUser{Group: group, User: user}] = int64(score)
	})
	eachScore(reply[3], func(group string, score float64) { h.Heat[group] = int(score) })
	return h, nil
}

// eachScore reads a sorted set as scripts answer it: member, score, …
func eachScore(reply any, found func(member string, score float64)) {
	list, _ := reply.([]any)
	for i := 0; i+1 < len(list); i += 2 {
		member, _ := list[i].(string)
		text, _ := list[i+1].(string)
		score, err := strconv.ParseFloat(text, 64)
		if err == nil {
			found(member, score)
		}
	}
}

// EachSeeded goes through the groups of a partition that have a seq.
func (s *Store) EachSeeded(ctx context.Context, log domain.LogRange, found func(groups []string) error) error {
	for cursor := uint64(0); ; {
		fields, next, err := s.rdb.HScan(ctx, seqKey(log.Partition, log.Gen), cursor, "", auditFields).Result()
		if err != nil {
			return fmt.Errorf("seeded groups of partition %d: %w", log.Partition, err)
		}
		var groups []string
		for i := 0; i < len(fields); i += 2 {
			groups = append(groups, fields[i])
		}
		if err := found(groups); err != nil {
			return err
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// SetAsideLogs has the number of messages in each log that was set aside.
func (s *Store) SetAsideLogs(ctx context.Context) (map[string]int64, error) {
	logs := make(map[string]int64)
	err := s.eachKey(ctx, keysOf("late"), func(key string) { logs[key] = 0 })
	for key := range logs {
		if err == nil {
			logs[key], err = s.rdb.XLen(ctx, key).Result()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("logs set aside: %w", err)
	}
	return logs, nil
}

// eachKey goes through all keys that match, on every server; found is not called from several at once.
func (s *Store) eachKey(ctx context.Context, pattern string, found func(key string)) error {
	scan := func(ctx context.Context, node redis.Cmdable) error {
		for cursor := uint64(0); ; {
			keys, next, err := node.Scan(ctx, cursor, pattern, 10_000).Result()
			if err != nil {
				return err
			}
			for _, key := range keys {
				found(key)
			}
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	}
	cluster, ok := s.rdb.(*redis.ClusterClient)
	if !ok {
		return scan(ctx, s.rdb)
	}
	var mu sync.Mutex // of one node after the other
	return cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		return scan(ctx, node)
	})
}
