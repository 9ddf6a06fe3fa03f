package client

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// decoded is a push as encoding/json reads it.
type decoded struct {
	Message
	PrevSeq *int64 `json:"prev_seq"`
}

const usualPush = `{"event":"message","group":"tea","seq":71,"time_ms":1700000000000,"from":"ann","client_id":"c-17",` +
	`"body":[{"type":"text","text":"it is \"noon\" ] } already"}]}`

func TestParsePushReadsWhatEncodingJSONReads(t *testing.T) {
	t.Parallel()
	for _, event := range []string{
		usualPush,
		`{"event":"message","prev_seq":68,"group":"dm:ann:bob","seq":71,"time_ms":1,"from":"ann","body":[]}`,
		`{"event":"message","prev_seq":0,"group":"tea","seq":71,"time_ms":1,"from":"ann","mentions":["a","b"],"reply_to":3,"operator":"key","recalled_ms":5,"recalled_by":"bob"}`,
		"{ \"event\" : \"message\" ,\t\"new\":{\"a\":[1,\"}\"]}, \"group\":\"t\\u0065a\",\"seq\" : 71 , \"flag\":true, \"none\":null,\"n\":-1.5e3 } ",
	} {
		requireSamePush(t, []byte(event))
	}
}

func requireSamePush(t *testing.T, event []byte) {
	t.Helper()
	var want decoded
	require.NoError(t, json.Unmarshal(event, &want))
	got, ok := parsePush(event)
	require.True(t, ok, "%s", event)
	require.Equal(t, want.Message, got.Message)
	prev := want.Seq - 1
	if want.PrevSeq != nil {
		prev = *want.PrevSeq
	}
	require.Equal(t, prev, got.prevSeq)
}

func TestParsePushRefuses(t *testing.T) {
	t.Parallel()
	for _, event := range []string{
		``, `[]`, `{`, `{}`, `{"group"`, `{"group":`, `{"group":"tea`, `{"group":"tea"`, `{"seq":"1"}`, `{"seq":1.5}`, `{"seq":0}`,
		`{"seq":1,"group":5}`, `{"seq":1,"body":[}`, `{"seq":1,"mentions":"a"}`, `{"seq":1 "group":"a"}`, `{seq:1}`, `{"seq":1,}`,
	} {
		_, ok := parsePush([]byte(event))
		require.False(t, ok, event)
	}
}

// FuzzEachMember holds the scanner against encoding/json: it finds the same members in every object.
func FuzzEachMember(f *testing.F) {
	f.Add([]byte(usualPush))
	f.Add([]byte(`{"a":1,"b":[{"c":"]}\\\""}],"d":{},"e":null , "f" : -1e5}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"`))
	f.Fuzz(func(t *testing.T, object []byte) {
		got := map[string]string{}
		ok := eachMember(object, func(name, value []byte) {
			if s, ok := unquote([]byte(`"` + string(name) + `"`)); ok {
				got[s] = string(value)
			}
		})
		var want map[string]json.RawMessage
		if !utf8.Valid(object) || json.Unmarshal(object, &want) != nil || want == nil {
			return // but it must not have panicked
		}
		require.True(t, ok)
		require.Len(t, got, len(want))
		for name, value := range want {
			require.Equal(t, string(value), got[name])
		}
	})
}

func BenchmarkParsePush(b *testing.B) {
	b.Run("scan", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := parsePush([]byte(usualPush)); !ok {
				b.Fatal("not parsed")
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var d decoded
			if err := json.Unmarshal([]byte(usualPush), &d); err != nil {
				b.Fatal(err)
			}
		}
	})
}
