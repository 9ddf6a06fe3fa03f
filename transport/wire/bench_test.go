package wire

import (
	"fmt"
	"strings"
	"testing"

	"hearth/domain"
)

// send200 is a send of 200 bytes.
func send200() []byte {
	const empty = `{"id":1234,"op":"send","group":"group-1","client_id":"0190f3c2-7d1e","body":[{"type":"text","text":""}]}`
	return []byte(strings.Replace(empty, `"text":""`, `"text":"`+strings.Repeat("x", 200-len(empty))+`"`, 1))
}

func BenchmarkParseDecodeBody(b *testing.B) {
	object := send200()
	b.SetBytes(int64(len(object)))
	b.ReportAllocs()
	for b.Loop() {
		r, ok, err := ParseRequest(object)
		if err != nil || !ok {
			b.Fatal(err)
		}
		var q SendRequest
		if err := r.Decode(&q); err != nil {
			b.Fatal(err)
		}
		if _, err := Body(q.Body, DefaultLimits); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseRequest(b *testing.B) {
	object := send200()
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := ParseRequest(object); err != nil || !ok {
			b.Fatal(err)
		}
	}
}

func BenchmarkBody(b *testing.B) {
	body := fmt.Appendf(nil, `[{"type":"text","text":"%s"}]`, strings.Repeat("x", 100))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Body(body, DefaultLimits); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendSent(b *testing.B) {
	r := domain.Receipt{Accepted: accepted}
	buf := make([]byte, 0, 160)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendSent(buf[:0], 1234, r)
	}
}

func BenchmarkAppendPull(b *testing.B) {
	var p domain.Page
	for seq := int64(1); seq <= 200; seq++ {
		p.Messages = append(p.Messages, message(seq, nil))
	}
	for name, buf := range map[string][]byte{"grown": make([]byte, 0, 64<<10), "from nil": nil} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				got := AppendPull(buf[:0], head, p)
				b.SetBytes(int64(len(got)))
			}
		})
	}
}

func BenchmarkWithPrevSeq(b *testing.B) {
	event := AppendMessage(nil, full)
	b.ReportAllocs()
	for b.Loop() {
		WithPrevSeq(event, 5)
	}
}
