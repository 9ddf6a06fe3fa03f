package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// shapes are the objects of PROTOCOL.md, written off the page: name:type, with ? where a field may be left out. Types
// are string, id, int, bool, any, a list [x], a map from ids {x}, words like lost|expired, null, or a shape.
var shapes = map[string]string{
	"none":    "",
	"sent":    "group:id seq:int time_ms:int duplicate:bool durable:bool persisted_seq:int",
	"direct":  "group:id seq:int time_ms:int duplicate:bool durable:bool persisted_seq:int peer_online:bool",
	"message": "group:id seq:int time_ms:int from:id body:[element] client_id?:id mentions?:[id] reply_to?:int operator?:id",
	"tombstone": "group:id seq:int time_ms:int from:id client_id?:id mentions?:[id] reply_to?:int operator?:id recalled_ms:int " +
		"recalled_by:id",
	"upload": "upload_url:id method:PUT headers:{string} url:id expires_ms:int",
	"hole":   "from:int to:int reason:lost|expired",
	"page":   "group:id max_seq:int min_seq:int messages:[stored] holes:[hole] recalled?:[int] more:bool",
	"entered": "group:id role:owner|admin|member|null max_seq:int read_seq:int unread:int persisted_seq:int " +
		"messages:[stored] holes:[hole] recalled?:[int] more:bool",
	"synced":   "results:[result]",
	"result":   "group:id max_seq:int min_seq:int read_seq:int unread:int persisted_seq:int messages:[stored] holes:[hole] recalled?:[int] more:bool",
	"failures": "results:[failed]",
	"failed":   "group:string error:error",
	"heads":    "results:[head] cursor?:string",
	"head": "group:id type:room|group|direct name:string max_seq:int read_seq:int unread:int mentioned_seq?:int " +
		"last_message?:stored",
	"mark":      "group:id read_seq:int unread:int",
	"presences": "users:{there}",
	"there":     "online:bool devices:[string] last_seen_ms?:int",
	"pong":      "time_ms:int",
	"refreshed": "expires_ms:int",
	"error":     "code:id message:string retryable:bool retry_after_ms?:int",
	"problem": "type:string title:string status:int detail:string code:id retryable:bool retry_after_ms?:int " +
		"errors?:[location]",
	"location": "location:string message:string",
	"group": "group:id type:room|group|direct name:string avatar:string join:open|invite|closed owner:string attributes:any muted:bool " +
		"member_count:int online:int max_seq:int created_ms:int",
	"groups":    "groups:[group] cursor?:string",
	"member":    "user:id role:owner|admin|member joined_ms:int mute_until_ms?:int",
	"members":   "members:[member] cursor?:string",
	"stranger":  "user:id role:null mute_until_ms?:int",
	"readers":   "seq:int read_count:int users?:[id]",
	"hot":       "snapshot:string time_ms:int window_ms:int groups:[ranked] cursor?:string",
	"ranked":    "rank:int group:id name:string type:room|group heat:int online:int last_message_ms:int",
	"explained": "snapshot:string time_ms:int window_ms:int groups:[explainedGroup] cursor?:string explained_ms:int",
	"explainedGroup": "rank:int group:id name:string type:room|group heat:int online:int last_message_ms:int " +
		"speakers:[speaker]",
	"speaker": "user:id time_ms:int",
	"limits":  "message_bytes:int page:int",
	"behind":  "group:id after_seq?:int",
	"alive":   "ok:bool",
	"ready":   "ready:bool degraded:bool checks:{check}",
	"check":   "ok:bool age_ms:int detail:string",
}

// eventShapes are the fields of the events beside event.
var eventShapes = map[string]string{
	"welcome": "conn:id user:id instance:string time_ms:int ping_interval_ms:int subscribed:int subscribed_all:bool limits:limits",
	"message": shapes["message"] + " prev_seq?:int",
	"durable": "group:id seq:int",
	"recall":  "group:id seq:int by:id time_ms:int",
	"signal":  "group:id from:id kind:string data?:any time_ms:int",
	"read":    "group:id user:id seq:int",
	"group": "group:id change:created|updated|joined|left|removed|role|muted|dismissed user?:id by?:id role?:owner|admin|member " +
		"mute_until_ms?:int",
	"presence":       "user:id online:bool",
	"hot":            shapes["hot"],
	"resync":         "groups:[behind]",
	"token_expiring": "expires_ms:int",
	"goodbye":        "code:int reason:string reconnect_after_ms?:int",
}

// elementShapes are the elements of bodies beside their type.
var elementShapes = map[string]string{
	"text":     "text:string",
	"sticker":  "index?:int url?:string data?:string",
	"voice":    "url:string duration_ms:int bytes?:int",
	"image":    "url:string width?:int height?:int bytes?:int thumb_url?:string",
	"video":    "url:string duration_ms:int thumb_url?:string width?:int height?:int bytes?:int",
	"file":     "url:string name:string bytes:int",
	"location": "latitude:any longitude:any title?:string",
	"custom":   "data:any desc?:string",
}

// decodeJSON reads one value and nothing behind it; numbers stay as they are written.
func decodeJSON(data []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something behind the JSON value")
	}
	return value, nil
}

// checkShape fails for a value that is not exactly of a type: a field that is missing, unknown or of another type.
func checkShape(value any, kind string) error {
	switch {
	case kind == "any":
		return nil
	case strings.HasPrefix(kind, "["):
		return checkList(value, kind[1:len(kind)-1])
	case strings.HasPrefix(kind, "{"):
		return checkMap(value, kind[1:len(kind)-1])
	case kind == "element":
		return checkElement(value)
	case kind == "stored": // a message, or what is left of it when it was recalled
		if object, ok := value.(map[string]any); ok && object["recalled_ms"] != nil {
			return checkShape(value, "tombstone")
		}
		return checkShape(value, "message")
	}
	if fields, ok := shapes[kind]; ok {
		return checkFields(value, fields)
	}
	return checkScalar(value, kind)
}

func checkScalar(value any, kind string) error {
	ok := false
	switch v := value.(type) {
	case string:
		ok = kind == "string" || kind == "id" && v != "" || slices.Contains(strings.Split(kind, "|"), v)
	case json.Number:
		_, err := v.Int64()
		ok = kind == "int" && err == nil
	case bool:
		ok = kind == "bool"
	case nil:
		ok = slices.Contains(strings.Split(kind, "|"), "null")
	}
	if !ok {
		return fmt.Errorf("got %v, want %s", value, kind)
	}
	return nil
}

func checkList(value any, kind string) error {
	list, ok := value.([]any)
	if !ok {
		return fmt.Errorf("got %v, want a list", value)
	}
	for i, item := range list {
		if err := checkShape(item, kind); err != nil {
			return fmt.Errorf("[%d]: %w", i, err)
		}
	}
	return nil
}

func checkMap(value any, kind string) error {
	object, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("got %v, want an object", value)
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if err := checkShape(object[name], kind); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func checkElement(value any) error {
	object, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("got %v, want an element", value)
	}
	kind := fmt.Sprint(object["type"])
	fields, ok := elementShapes[kind]
	if !ok {
		return fmt.Errorf("an element of type %q", kind)
	}
	return checkFields(value, "type:"+kind+" "+fields)
}

func checkFields(value any, fields string) error {
	object, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("got %v, want an object", value)
	}
	left := maps.Clone(object)
	for _, field := range strings.Fields(fields) {
		name, kind, _ := strings.Cut(field, ":")
		name, optional := strings.CutSuffix(name, "?")
		inner, found := left[name]
		delete(left, name)
		if !found {
			if optional {
				continue
			}
			return fmt.Errorf("%s is missing", name)
		}
		if err := checkShape(inner, kind); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("unknown fields: %v", slices.Sorted(maps.Keys(left)))
	}
	return nil
}

// checkFrame fails for an object that no server of the page writes: a reply with id first, or an event with event first.
func checkFrame(raw []byte) (event string, err error) {
	value, err := decodeJSON(raw)
	if err != nil {
		return "", err
	}
	object, ok := value.(map[string]any)
	if !ok {
		return "", errors.New("no object")
	}
	event, isEvent := object["event"].(string)
	switch {
	case isEvent && eventShapes[event] == "":
		return event, errors.New("unknown event")
	case isEvent && !bytes.HasPrefix(raw, []byte(`{"event":`)):
		return event, errors.New("event does not come first")
	case isEvent:
		delete(object, "event")
		shape := eventShapes[event]
		if event == "message" && object["recalled_ms"] != nil { // recalled before it was handed out
			shape = shapes["tombstone"] + " prev_seq?:int"
		}
		return event, checkFields(value, shape)
	case object["id"] != nil && !bytes.HasPrefix(raw, []byte(`{"id":`)):
		return "", errors.New("id does not come first")
	case object["error"] != nil:
		return "", checkFields(value, "id?:int error:error")
	}
	return "", checkFields(value, "id?:int ok:any") // whoever asked looks at it
}
