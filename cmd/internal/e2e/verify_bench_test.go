package e2e

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"hearth/domain"
)

// BenchmarkVerify audits 1,000 groups of 1,000 messages each, all of them also in Redis.
func BenchmarkVerify(b *testing.B) {
	const groups, messages = 1000, 1000
	s := newStack(b, setup{instances: 1, ownMySQL: true})
	s.fill(groups, messages)
	for b.Loop() {
		code, out := s.says("verify")
		if code != 0 {
			b.Fatalf("exit %d: %s", code, out)
		}
		b.Log(out)
	}
	b.ReportMetric(groups*messages*float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// fill writes groups as if their messages had been sent: rows, recent, seqs.
func (s *stack) fill(groups, messages int) {
	s.t.Helper()
	const begun = int64(1_700_000_000_000)
	for g := range groups {
		group := fmt.Sprint("group", g)
		s.exec("INSERT INTO chat_group VALUES (?, 'group', ?, '', 'invite', '', '', FALSE, FALSE, 1000, 0, 1, 1, 1)", group, group)
		p := domain.Partitions(16).Of(group)
		key := func(name string) string { return fmt.Sprintf("hearth:{%d}:%s:1", p, name) }
		pipe := s.rdb.Pipeline()
		for from := 0; from < messages; from += 500 {
			query, args := "INSERT INTO group_msg (group_id, msg_seq, msg_time, type, from_account, client_id, content_hash, msg_body, gen, created_time) VALUES ", []any{}
			for n := range 500 {
				body := []byte(`[{"type":"text","text":"` + say("message", from+n, "of some eighty bytes, as people write them to each other in a room") + `"}]`)
				m := domain.Message{
					Group: group, Seq: int64(from + n + 1), TimeMS: begun + int64(from+n), Header: domain.Header{From: fmt.Sprint("u", n%7), ClientID: fmt.Sprint("c", from+n)},
					Body: body, Hash: domain.ContentHash(body, nil, 0),
				}
				if n > 0 {
					query += ","
				}
				query += "(?,?,?,'group',?,?,?,?,1,0)"
				args = append(args, m.Group, m.Seq, m.TimeMS, m.From, m.ClientID, m.Hash, string(m.Body))
				pipe.XAdd(s.t.Context(), &redis.XAddArgs{Stream: key("recent") + ":" + group, ID: fmt.Sprint(m.Seq, "-0"), Values: []any{"m", m.Record().Tail}})
			}
			s.exec(query, args...)
		}
		pipe.HSet(s.t.Context(), key("seq"), group, fmt.Sprint(messages, " ", begun+int64(messages)))
		pipe.HSet(s.t.Context(), key("persisted"), group, messages)
		if _, err := pipe.Exec(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}
}
