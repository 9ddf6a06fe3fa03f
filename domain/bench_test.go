package domain_test

import (
	"testing"

	"hearth/domain"
)

func BenchmarkRecordAppendJSON(b *testing.B) {
	r := record("group-1", 123_456)
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		buf = r.AppendJSON(buf[:0])
	}
	b.SetBytes(int64(len(buf)))
}

// acceptAll is an Appender that costs nothing.
type acceptAll struct{}

func (acceptAll) Append(a domain.Append, done func(domain.Accepted, error)) {
	done(domain.Accepted{Group: a.Group, Gen: 1, Seq: 1}, nil)
}

func BenchmarkSend(b *testing.B) {
	s := domain.NewSends(acceptAll{}, &domain.Watermarks{}, nil)
	for name, d := range map[string]domain.Draft{
		"plain":     {Group: "group-1", From: "user-1", Body: hi},
		"client_id": {Group: "group-1", From: "user-1", Body: hi, ClientID: "client-1", Mentions: []string{"bob"}, ReplyTo: 7},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Send(d, func(domain.Receipt, error) {}, nil)
			}
		})
	}
}

func BenchmarkPageAfter(b *testing.B) {
	records := insert(nil, "group-1", append(span(1, 100), span(1_000_101, 1_000_200)...))
	holes := domain.Holes{{From: 101, To: 1_000_100, Reason: domain.HoleLost}}
	b.ReportAllocs()
	for b.Loop() {
		if p := domain.PageAfter(records, holes, 0, 1_000_200, 200); len(p.Messages) != 200 {
			b.Fatalf("got %d messages, want 200", len(p.Messages))
		}
	}
}
