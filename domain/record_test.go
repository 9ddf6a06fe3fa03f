package domain_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"hearth/domain"
)

func TestMessageJSON(t *testing.T) {
	t.Parallel()
	body := []byte(`[{"type":"text","text":"hi \"you\""}]`)
	for name, c := range map[string]struct {
		m    domain.Message
		want string
	}{
		"as short as it gets": {
			domain.Message{Group: "g1", Seq: 1, TimeMS: 1700000000000, Header: domain.Header{From: "u1"}, Body: body},
			`{"group":"g1","seq":1,"time_ms":1700000000000,"from":"u1","body":[{"type":"text","text":"hi \"you\""}]}`,
		},
		"everything set": {
			domain.Message{
				Group: "dm:a:b", Seq: 9007199254740991, TimeMS: 1700000000001, Gen: 3, GroupType: domain.Direct, Hash: "00ff",
				Header: domain.Header{From: "a", ClientID: "c-1", Mentions: []string{"b", "c.d"}, ReplyTo: 7, Operator: "key1"},
				Body:   body,
			},
			`{"group":"dm:a:b","seq":9007199254740991,"time_ms":1700000000001,"from":"a","client_id":"c-1","mentions":["b","c.d"],` +
				`"reply_to":7,"operator":"key1","body":[{"type":"text","text":"hi \"you\""}]}`,
		},
		"everybody mentioned": {
			domain.Message{Group: "g1", Seq: 2, TimeMS: 5, Header: domain.Header{From: "system", Mentions: []string{"*"}}, Body: body},
			`{"group":"g1","seq":2,"time_ms":5,"from":"system","mentions":["*"],"body":[{"type":"text","text":"hi \"you\""}]}`,
		},
		"a tombstone has no body": {
			domain.Message{
				Group: "g1", Seq: 3, TimeMS: 5,
				Header: domain.Header{From: "u1", ClientID: "c", RecalledMS: 9, RecalledBy: "admin"}, Body: body,
			},
			`{"group":"g1","seq":3,"time_ms":5,"from":"u1","client_id":"c","recalled_ms":9,"recalled_by":"admin"}`,
		},
	} {
		r := c.m.Record()
		if diff := cmp.Diff(c.want, string(r.AppendJSON(nil))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		require.Equal(t, []any{c.m.Group, c.m.Seq, c.m.TimeMS}, []any{r.Group, r.Seq, r.TimeMS}, name)
	}
}

// wireMessage is PROTOCOL.md §3's message, written down a second time for encoding/json.
type wireMessage struct {
	Group      string          `json:"group"`
	Seq        int64           `json:"seq"`
	TimeMS     int64           `json:"time_ms"`
	From       string          `json:"from"`
	ClientID   string          `json:"client_id,omitempty"`
	Mentions   []string        `json:"mentions,omitempty"`
	ReplyTo    int64           `json:"reply_to,omitempty"`
	Operator   string          `json:"operator,omitempty"`
	RecalledMS int64           `json:"recalled_ms,omitempty"`
	RecalledBy string          `json:"recalled_by,omitempty"`
	Body       json.RawMessage `json:"body,omitempty"`
}

func anySeq() *rapid.Generator[int64] { return rapid.Int64Range(1, 1<<53-1) }

func optional(id *rapid.Generator[string]) *rapid.Generator[string] {
	return rapid.OneOf(rapid.Just(""), id)
}

func anyHeader() *rapid.Generator[domain.Header] {
	return rapid.Custom(func(t *rapid.T) domain.Header {
		h := domain.Header{
			From:     anyID().Draw(t, "from"),
			ClientID: optional(anyID()).Draw(t, "client_id"),
			ReplyTo:  rapid.OneOf(rapid.Just[int64](0), anySeq()).Draw(t, "reply_to"),
			Operator: optional(anyID()).Draw(t, "operator"),
		}
		if mentions := rapid.SliceOfN(anyID(), 0, 4).Draw(t, "mentions"); len(mentions) > 0 {
			h.Mentions = mentions
		}
		if rapid.Bool().Draw(t, "recalled") {
			h.RecalledMS, h.RecalledBy = anySeq().Draw(t, "recalled_ms"), anyID().Draw(t, "recalled_by")
		}
		return h
	})
}

func anyBody() *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		body, err := json.Marshal([]map[string]string{{"type": "text", "text": rapid.String().Draw(t, "text")}})
		require.NoError(t, err)
		return body
	})
}

func anyMessage() *rapid.Generator[domain.Message] {
	return rapid.Custom(func(t *rapid.T) domain.Message {
		return domain.Message{
			Group:  anyID().Draw(t, "group"),
			Seq:    anySeq().Draw(t, "seq"),
			TimeMS: anySeq().Draw(t, "time_ms"),
			Header: anyHeader().Draw(t, "header"),
			Body:   anyBody().Draw(t, "body"),
		}
	})
}

func TestAppendJSONIsWhatEncodingJSONWouldWrite(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := anyMessage().Draw(t, "message")
		want := wireMessage{
			m.Group, m.Seq, m.TimeMS, m.From, m.ClientID, m.Mentions, m.ReplyTo, m.Operator, m.RecalledMS, m.RecalledBy, m.Body,
		}
		if m.RecalledMS != 0 {
			want.Body = nil
		}
		wantJSON, err := json.Marshal(want)
		require.NoError(t, err)
		r := m.Record()
		got := r.AppendJSON([]byte("before"))
		require.Equal(t, "before"+string(wantJSON), string(got))
		marshaled, err := json.Marshal(r)
		require.NoError(t, err)
		require.Equal(t, string(wantJSON), string(marshaled))
		require.GreaterOrEqual(t, r.Size(), len(wantJSON), "Size is a bound")
		require.LessOrEqual(t, r.Size(), len(wantJSON)+15, "Size is a close bound")
	})
}

func TestHeaderRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := anyHeader().Draw(t, "header")
		fields := want.AppendJSON(nil)
		got, err := domain.ParseHeader(fields)
		require.NoError(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("of %s (-want +got):\n%s", fields, diff)
		}
	})
}

func TestRecordFromTailRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := anyMessage().Draw(t, "message")
		want := m.Record()
		got, err := domain.RecordFromTail(want.Group, want.Seq, want.Tail)
		require.NoError(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

func TestBrokenStoredFormsAreErrors(t *testing.T) {
	t.Parallel()
	for _, tail := range []string{
		``, `{}`, `"time_ms":`, `"time_ms":}`, `"time_ms":12}`, `"time_ms":x,"from":"u"}`, `"time_ms":1.5,"from":"u"}`,
		`"time_ms":99999999999999999999,"from":"u"}`, `"from":"u","time_ms":1}`, ` "time_ms":1,"from":"u"}`,
	} {
		got, err := domain.RecordFromTail("g", 1, []byte(tail))
		require.Error(t, err, "RecordFromTail(%q) = %+v", tail, got)
	}
	for _, fields := range []string{`"from"`, `"from":1`, `"from":"u",`, `from:"u"`, `"mentions":"u"`} {
		got, err := domain.ParseHeader([]byte(fields))
		require.Error(t, err, "ParseHeader(%q) = %+v", fields, got)
	}
}

func TestMessageOfIsTheInverseOfRecord(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.SampledFrom([]string{`[]`, `[{"type":"text","text":"a \"b\" \u00e9 <&>"}]`, `[{"type":"custom","data":{"body":1,"from":2}}]`}).Draw(t, "body")
		want := domain.Message{Group: "g", Seq: rapid.Int64Range(1, 1<<50).Draw(t, "seq"), TimeMS: rapid.Int64Range(1, 1<<50).Draw(t, "time"), Body: []byte(body)}
		want.From, want.ClientID = "ann", rapid.SampledFrom([]string{"", "c"}).Draw(t, "client_id")
		want.ReplyTo = rapid.Int64Range(0, 5).Draw(t, "reply_to")
		want.Mentions = rapid.SampledFrom([][]string{nil, {"*"}, {"ann", "bob"}}).Draw(t, "mentions")
		want.Operator = rapid.SampledFrom([]string{"", "key"}).Draw(t, "operator")
		want.Hash = domain.ContentHash(want.Body, want.Mentions, want.ReplyTo)
		if rapid.Bool().Draw(t, "replaced") {
			want.Hash = "x" + domain.ContentHash([]byte(`["as sent"]`), want.Mentions, want.ReplyTo)[1:]
		}
		got, err := domain.MessageOf(want.Record())
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
	_, err := domain.MessageOf(domain.Record{Group: "g", Seq: 1, Tail: []byte(`"time_ms":x}`)})
	require.Error(t, err)
}
