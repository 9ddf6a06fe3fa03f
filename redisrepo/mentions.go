package redisrepo

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"hearth/domain"
)

// mentionsField is in the header of messages that mention somebody: what stands there is ids and numbers.
var mentionsField = []byte(`,"mentions":[`)

// Mentions are what MySQL may not know of who is mentioned; see domain.RecentMessages. A Redis in another generation is not
// believed.
func (s *Store) Mentions(ctx context.Context, user string, groups []string) ([]domain.FreshMentions, error) {
	for try := 1; ; try++ {
		fresh, over, err := s.readMentions(ctx, user, groups)
		if err != nil {
			return nil, fmt.Errorf("mentions in %d groups: %w", len(groups), err)
		}
		if over == nil {
			return fresh, nil
		}
		if err := s.renewed(ctx, over.Partition, over.Gen, try); err != nil {
			return nil, err
		}
	}
}

func (s *Store) readMentions(ctx context.Context, user string, groups []string) (fresh []domain.FreshMentions, over *domain.LogRange, err error) {
	pipe, recalls := s.rdb.Pipeline(), s.newRecallReads()
	lists, watermarks := make([]*redis.SliceCmd, len(groups)), make([]*redis.SliceCmd, len(groups))
	for i, group := range groups {
		of := recalls.read(ctx, pipe, group)
		lists[i] = pipe.HMGet(ctx, mentionsKey(of.Partition, of.Gen, group), user, domain.MentionAll)
		watermarks[i] = pipe.HMGet(ctx, persistedKey(of.Partition, of.Gen), group) // last: MySQL has what is not above
	}
	recalled, over, err := recalls.exec(ctx, pipe)
	if err != nil || over != nil {
		return nil, over, err
	}
	fresh = make([]domain.FreshMentions, len(groups))
	for i := range groups {
		fresh[i] = domain.FreshMentions{Persisted: 1<<53 - 1, Recalled: recalled[i]}
		if mark := field(watermarks[i].Val(), 0); mark != "" { // else nothing was sent in this generation
			if fresh[i].Persisted, err = strconv.ParseInt(mark, 10, 64); err != nil {
				return nil, nil, fmt.Errorf("watermark of %s: %w", groups[i], err)
			}
		}
		if err := readMentionLists(&fresh[i], lists[i].Val()); err != nil {
			return nil, nil, fmt.Errorf("mentions in %s: %w", groups[i], err)
		}
	}
	return fresh, nil, nil
}

// readMentionLists merges lists as append.lua writes them. Below where one of them was cut, the others do not tell the whole.
func readMentionLists(m *domain.FreshMentions, lists []any) error {
	known := int64(0)
	for which := range lists {
		last := int64(0)
		for word := range strings.FieldsSeq(field(lists, which)) {
			if word == "+" {
				known = max(known, last)
				break
			}
			var err error
			if last, err = strconv.ParseInt(word, 10, 64); err != nil {
				return err
			}
			m.Seqs = append(m.Seqs, last)
		}
	}
	slices.Sort(m.Seqs)
	slices.Reverse(m.Seqs)
	from := max(known, m.Persisted+1)
	m.Seqs = slices.DeleteFunc(m.Seqs, func(seq int64) bool { return seq < from })
	m.Cut = known > m.Persisted
	return nil
}

// forgetMentions is what goes with a batch that is committed: the calls of mentioned.lua.
func (s *Store) forgetMentions(b domain.LogBatch) []scriptCall {
	last := make(map[string]map[string]int64)
	for i := range b.Entries {
		e := &b.Entries[i]
		for _, user := range e.Mentions {
			if last[e.Group] == nil {
				last[e.Group] = make(map[string]int64)
			}
			last[e.Group][user] = max(last[e.Group][user], e.Seq)
		}
	}
	var calls []scriptCall
	for group, users := range last {
		args := []any{idleTTL.Milliseconds()}
		for user, seq := range users {
			args = append(args, user, seq)
		}
		calls = append(calls, scriptCall{[]string{mentionsKey(b.Partition, b.Gen, group)}, args})
	}
	return calls
}
