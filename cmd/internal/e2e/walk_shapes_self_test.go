package e2e

import "testing"

// TestShapesAreExact: what holds the walk's answers against the page lets nothing else through.
func TestShapesAreExact(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		value, shape string
		fits         bool
	}{
		{`{"group":"g","read_seq":1,"unread":0}`, "mark", true},
		{`{"group":"g","read_seq":1}`, "mark", false},
		{`{"group":"g","read_seq":1,"unread":0,"more":1}`, "mark", false},
		{`{"group":"g","read_seq":"1","unread":0}`, "mark", false},
		{`{"group":"g","read_seq":1.5,"unread":0}`, "mark", false},
		{`{"group":"","read_seq":1,"unread":0}`, "mark", false},
		{`{"group":"g","read_seq":null,"unread":0}`, "mark", false},
		{`[]`, "mark", false},
		{`{}`, "none", true},
		{`{"a":1}`, "none", false},
		{`{"seq":1,"read_count":0}`, "readers", true},
		{`{"seq":1,"read_count":0,"users":["bob"]}`, "readers", true},
		{`{"seq":1,"read_count":0,"users":[7]}`, "readers", false},
		{`{"seq":1,"read_count":0,"users":null}`, "readers", false},
		{`{"users":{"bob":{"online":true,"devices":[]}}}`, "presences", true},
		{`{"users":{"bob":{"online":1,"devices":[]}}}`, "presences", false},
		{`{"from":1,"to":2,"reason":"lost"}`, "hole", true},
		{`{"from":1,"to":2,"reason":"eaten"}`, "hole", false},
		{`{"user":"u","role":null}`, "stranger", true},
		{`{"user":"u","role":"member"}`, "stranger", false},
		{`{"group":"g","seq":1,"time_ms":1,"from":"u","body":[{"type":"text","text":"a"}]}`, "message", true},
		{`{"group":"g","seq":1,"time_ms":1,"from":"u","body":[{"type":"text"}]}`, "message", false},
		{`{"group":"g","seq":1,"time_ms":1,"from":"u","body":[{"type":"song","text":"a"}]}`, "message", false},
	} {
		value, err := decodeJSON([]byte(x.value))
		if err != nil {
			t.Fatal(err)
		}
		if err := checkShape(value, x.shape); (err == nil) != x.fits {
			t.Errorf("%s as %s: got %v, want it to fit: %v", x.value, x.shape, err, x.fits)
		}
	}
	for frame, fits := range map[string]bool{
		`{"id":1,"ok":{}}`: true, `{"ok":{},"id":1}`: false, `{"id":1,"ok":{},"extra":1}`: false, `{"id":1}`: false,
		`{"id":1,"error":{"code":"gone","message":"m","retryable":false}}`: true, `{"id":1,"error":{"code":"gone"}}`: false,
		`{"event":"durable","group":"g","seq":1}`: true, `{"group":"g","event":"durable","seq":1}`: false,
		`{"event":"message","group":"g","seq":1,"time_ms":1,"from":"u","recalled_ms":2,"recalled_by":"u"}`: true,
		`{"event":"message","group":"g","seq":1,"time_ms":1,"from":"u"}`:                                   false,
		`{"event":"durable","group":"g"}`:                                                                  false, `{"event":"party","group":"g"}`: false, `[]`: false, `{"id":1,"ok":{}} x`: false,
	} {
		if _, err := checkFrame([]byte(frame)); (err == nil) != fits {
			t.Errorf("%s: got %v, want it to fit: %v", frame, err, fits)
		}
	}
}
