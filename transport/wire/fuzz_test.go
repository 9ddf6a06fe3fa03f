package wire

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// seedGolden adds what the server itself writes: near to what clients write, and long.
func seedGolden(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob("testdata/golden/*.json")
	require.NoError(f, err)
	for _, file := range files {
		frame, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(frame)
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, seed := range []string{
		`{"id":1,"op":"send","group":"g","body":[{"type":"text","text":"a"}],"client_id":"c"}`,
		`{"id":1,"op":"send","to":"bob","body":[]}`, `{"id":2,"op":"signal","to":"bob","kind":"typing","data":{"a":null}}`,
		`{"op":"presence","users":["ann","bob"]}`, `{"op":"refresh","token":"x.y.z"}`, `{"op":"signal","data":{"a":1,"a":2}}`,
		`{"op":"sync","groups":{"g":1}}`, `{"id":-1,"op":"ping"}`, `{"id":"1","op":"ping"}`, `null`, `{`, `{"op":"x","op":"x"}`,
	} {
		f.Add([]byte(seed))
	}
	seedGolden(f)
	f.Fuzz(func(t *testing.T, object []byte) {
		r, ok, err := ParseRequest(object)
		if !ok && err == nil {
			t.Fatal("refused without a word")
		}
		if ok && r.Op == "" {
			t.Fatal("taken without an op")
		}
		if err != nil && domain.CodeOf(err) != domain.CodeBadRequest {
			t.Fatalf("got %v, want bad_request", err)
		}
		if r.ID != NoID && (r.ID < 0 || r.ID >= 1<<53) {
			t.Fatalf("got id %d, out of range", r.ID)
		}
		if !ok {
			return
		}
		for _, v := range []any{
			&SendRequest{}, &SignalRequest{}, &SubscribeRequest{}, &GroupRequest{}, &SyncRequest{}, &PullRequest{}, &ReadRequest{},
			&PresenceRequest{}, &RefreshRequest{}, &PingRequest{},
		} {
			if err := r.Decode(v); err != nil && domain.CodeOf(err) != domain.CodeBadRequest {
				t.Fatalf("%T: got %v, want bad_request", v, err)
			}
		}
		requireFrameObject(t, AppendError(nil, r.ID, cmp.Or(err, error(domain.Errorf(domain.CodeInternal, "m")))))
	})
}

func FuzzBody(f *testing.F) {
	for _, seed := range []string{
		`[{"type":"text","text":"a\n\ud83d\ude00"}]`, ` [ { "type" : "custom" , "data" : [ 1e9 , null ] } ] `,
		`[{"type":"sticker","index":1}]`, `[{"type":"voice","url":"https://a/v","duration_ms":1}]`,
		`[{"type":"image","url":"/v1/uploads/x/i.png","width":1}]`, `[{"type":"file","url":"http://a","name":"n","bytes":1}]`,
		`[{"type":"location","latitude":1.5,"longitude":-2e1,"title":"t"}]`, `[]`, `[[[[`, `[{"type":"text","text":"a","text":"b"}]`,
	} {
		f.Add([]byte(seed))
	}
	seedGolden(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		body, err := Body(raw, DefaultLimits)
		if err != nil {
			if code := domain.CodeOf(err); code != domain.CodeBadRequest && code != domain.CodeTooLarge {
				t.Fatalf("got %v, want bad_request or too_large", err)
			}
			return
		}
		if len(body) > DefaultLimits.MessageBytes || bytes.ContainsAny(body, "\n\r\t") {
			t.Fatalf("not compact: %q", body)
		}
		again, err := Body(body, DefaultLimits)
		if err != nil || !bytes.Equal(body, again) {
			t.Fatalf("taken as %q, then as %q (%v)", body, again, err)
		}
		m := domain.Message{Group: "g", Seq: 1, Header: domain.Header{From: "u"}, Body: body}
		requireFrameObject(t, AppendMessage(nil, m.Record()))
	})
}

func FuzzObjects(f *testing.F) {
	for _, seed := range []string{"", "{}", "{}\n{}", "\n\n", " {} \r\n[] ", "\x00\n\xff"} {
		f.Add([]byte(seed))
	}
	seedGolden(f)
	f.Fuzz(func(t *testing.T, frame []byte) {
		objects := Objects(frame)
		for _, object := range objects {
			if len(object) == 0 || bytes.IndexByte(object, '\n') >= 0 || !bytes.Equal(object, bytes.TrimSpace(object)) {
				t.Fatalf("got object %q", object)
			}
		}
		again := Objects(bytes.Join(objects, []byte("\n")))
		if len(again) != len(objects) {
			t.Fatalf("got %d objects, then %d", len(objects), len(again))
		}
	})
}
