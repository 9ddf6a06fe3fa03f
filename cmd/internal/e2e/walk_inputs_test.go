package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
)

// input is a field of a request: what it is, and what it must not be beside that.
type input struct {
	name, kind string // kind: one of mistyped
	must       bool
	wrong      []wrongValue
}

// wrongValue is a value that a field does not take, and the code that says so.
type wrongValue struct {
	value any
	code  string
	says  bool // the OpenAPI file says so, too
}

// mistyped are values of another type, or out of the range, of a kind of field: each is bad_request.
var mistyped = map[string][]any{
	"id":       {7, true, []string{"a"}, "a b", "ä", strings.Repeat("a", 65)},
	"user":     {7, true, "a b", strings.Repeat("a", 65), "system"},
	"group":    {7, true, "a b", "a/b", strings.Repeat("a", 65), "hot", "dm:b:a", "dm:a:a", "dm:a"},
	"text":     {7, true, []string{"a"}, fields{}},
	"word":     {7, true, "nonsense"},
	"int":      {"1", 1.5, true, fields{}},
	"bool":     {1, "true", fields{}},
	"users":    {"bob", 7, fields{}, []any{7}, []string{"a b"}},
	"object":   {7, "a", []int{1}},
	"elements": {7, "a", fields{}, []any{}, []any{7}, []any{fields{"type": "nonsense"}}, []any{fields{"type": "text"}}},
	"any":      nil,
}

// mistake is a wrong request: its body, the code, and the field that has to be named.
type mistake struct {
	what        string
	body        fields
	code, field string
	says        bool // the OpenAPI file says so, too
}

// mistakes are all wrong requests that come of a right one: a field missing, mistyped, in capitals, out of bounds, or
// unknown.
func mistakes(t *testing.T, right string, inputs []input) []mistake {
	t.Helper()
	var full fields
	if err := json.Unmarshal([]byte(right), &full); err != nil {
		t.Fatalf("%s: %v", right, err)
	}
	with := func(name string, value any) fields {
		changed := maps.Clone(full)
		changed[name] = value
		return changed
	}
	without := func(name string) fields {
		changed := maps.Clone(full)
		delete(changed, name)
		return changed
	}
	list := []mistake{{"an unknown field", with("colour", "red"), badRequest, "colour", true}}
	for _, in := range inputs {
		if in.must {
			list = append(list, mistake{in.name + " is missing", without(in.name), badRequest, in.name, true})
		}
		capital := strings.ToUpper(in.name[:1]) + in.name[1:]
		changed := without(in.name)
		changed[capital] = full[in.name]
		list = append(list, mistake{in.name + " in capitals", changed, badRequest, capital, true})
		for _, value := range mistyped[in.kind] {
			list = append(list, mistake{fmt.Sprintf("%s: %.40v", in.name, value), with(in.name, value), badRequest, in.name, isOfAnotherType(in.kind, value)})
		}
		for _, wrong := range in.wrong {
			list = append(list, mistake{fmt.Sprintf("%s: %.40v", in.name, wrong.value), with(in.name, wrong.value), wrong.code, in.name, wrong.says})
		}
	}
	return list
}

// isOfAnotherType: a schema need not know more than that. Groups inside of a path's field and ids may be finer there.
func isOfAnotherType(kind string, value any) bool {
	_, isText := value.(string)
	switch kind {
	case "id", "user", "group", "text":
		return !isText
	case "users":
		list, isList := value.([]string)
		return !isList || len(list) == 0
	}
	return true
}

// names a field: the one that an answer names has to begin with it, such as members[0] for members.
func begins(got, field string) bool {
	rest, ok := strings.CutPrefix(got, field)
	return ok && (rest == "" || rest[0] == '[' || rest[0] == '.')
}
