package configs

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// file is a configuration file on its way into a Config. It is walked key by key rather than decoded as a
// whole, because a decoder stops at the first mistake.
type file struct {
	path     string
	lines    []string
	values   map[string]*token.Token // redis.addrs, redis.addrs[0] → where its value stands
	secrets  map[string]bool         // keys whose values are not shown
	names    map[string]bool         // of sections and keys
	unread   bool                    // missing, or not YAML
	mistakes Mistakes
}

func newFile(path string) *file {
	f := &file{path: path, values: make(map[string]*token.Token), secrets: make(map[string]bool), names: make(map[string]bool)}
	for _, s := range allSections() {
		f.names[s.name] = true
		for _, k := range s.keys {
			f.names[k.name] = true
			f.secrets[k.path] = k.secret
		}
	}
	return f
}

// readFile puts what path says into c; its mistakes are in the result.
func readFile(path string, c *Config) *file {
	f := newFile(path)
	data, err := os.ReadFile(path)
	if err != nil {
		f.unread = true
		f.mistakes = Mistakes{{File: path, Message: "cannot be read: " + reason(err)}}
		return f
	}
	f.lines = strings.Split(string(data), "\n")
	tree, err := parser.ParseBytes(data, 0)
	if err != nil {
		f.syntax(err)
		return f
	}
	f.root(tree, c)
	return f
}

// reason is err without the path, which the mistake names already.
func reason(err error) string {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

func (f *file) syntax(err error) {
	f.unread = true
	var at yaml.Error
	if errors.As(err, &at) && at.GetToken() != nil {
		f.wrong("", at.GetToken(), "%s", at.GetMessage())
		return
	}
	f.mistakes = append(f.mistakes, Mistake{File: f.path, Message: "is not YAML"})
}

func (f *file) root(tree *ast.File, c *Config) {
	if len(tree.Docs) == 0 {
		return
	}
	if len(tree.Docs) > 1 {
		f.wrong("", tree.Docs[1].Start, "a second document: only one is read")
	}
	known := sections()
	for _, entry := range f.entries("", tree.Docs[0].Body) {
		name := entry.Key.GetToken().Value
		s, ok := find(known, func(s section) bool { return s.name == name })
		if !ok {
			f.stray(name, entry.Key.GetToken(), "unknown section; there are %s", names(known, func(s section) string { return s.name }))
			continue
		}
		f.section(s, entry.Value, c)
	}
}

func (f *file) section(s section, body ast.Node, c *Config) {
	for _, entry := range f.entries(s.path, body) {
		name := entry.Key.GetToken().Value
		if inner, ok := find(s.inner, func(s section) bool { return s.name == name }); ok {
			f.section(inner, entry.Value, c)
			continue
		}
		k, ok := find(s.keys, func(k key) bool { return k.name == name })
		if !ok {
			known := names(s.keys, func(k key) string { return k.name })
			if len(s.inner) > 0 {
				known += ", " + names(s.inner, func(s section) string { return s.name })
			}
			f.stray(s.path+"."+name, entry.Key.GetToken(), "unknown key; %s has %s", s.path, known)
			continue
		}
		f.key(k, entry, c)
	}
}

// entries are the lines of a map; an empty one has none.
func (f *file) entries(path string, node ast.Node) []*ast.MappingValueNode {
	switch n := node.(type) {
	case nil, *ast.NullNode, *ast.CommentGroupNode:
		return nil
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	default:
		f.stray(path, node.GetToken(), "must be a map: keys with their values, indented below")
		return nil
	}
}

// key decodes one value.
func (f *file) key(k key, entry *ast.MappingValueNode, c *Config) {
	at := entry.Value.GetToken()
	if entry.Value.Type() == ast.NullType {
		f.wrong(k.path, entry.Key.GetToken(), `has no value: give it one ("" or [] for empty), or leave the key out`)
		return
	}
	f.values[k.path] = at
	if list, ok := entry.Value.(*ast.SequenceNode); ok {
		for i, item := range list.Values {
			f.values[fmt.Sprintf("%s[%d]", k.path, i)] = item.GetToken()
		}
	}
	field := k.of(c)
	value := reflect.New(field.Type())
	if !fits(entry.Value, field.Type()) {
		f.wrong(k.path, at, "must be %s", kindName(field.Type()))
		return
	}
	if err := yaml.NodeToValue(entry.Value, value.Interface(), yaml.Strict()); err != nil {
		f.undecodable(k, at, err)
		return
	}
	field.Set(value.Elem())
}

// undecodable words what the decoder says in the words of the file.
func (f *file) undecodable(k key, at *token.Token, err error) {
	var t Config
	kind := k.of(&t).Type()
	var decode yaml.Error
	if kind == reflect.TypeFor[Duration]() && !errors.As(err, &decode) {
		f.wrong(k.path, at, "%s", err)
		return
	}
	f.wrong(k.path, at, "must be %s", kindName(kind))
}

// fits refuses what the decoder would bend into shape: 16.7 for a whole number, a number for a bool, a map.
func fits(node ast.Node, t reflect.Type) bool {
	switch node := node.(type) {
	case *ast.SequenceNode:
		if t.Kind() != reflect.Slice {
			return false
		}
		for _, item := range node.Values {
			if item == nil || !fits(item, t.Elem()) {
				return false
			}
		}
		return true
	case *ast.BoolNode:
		return t.Kind() == reflect.Bool
	case *ast.IntegerNode:
		return t.Kind() != reflect.Bool && t.Kind() != reflect.Slice
	case *ast.FloatNode:
		return t.Kind() == reflect.Float64 || t.Kind() == reflect.String
	case *ast.StringNode, *ast.LiteralNode:
		return t.Kind() == reflect.String || t == reflect.TypeFor[Duration]()
	default:
		return false
	}
}

// place adds to m where its key stands in the file, if it does.
func (f *file) place(m Mistake) Mistake {
	at, ok := f.values[m.Key]
	if !ok {
		at, ok = f.values[keyOf(m.Key)]
	}
	if !ok {
		return m
	}
	return f.locate(m, at)
}

// wrong records a mistake of a known key, whose line can be shown.
func (f *file) wrong(path string, at *token.Token, format string, args ...any) {
	m := Mistake{Key: path, File: f.path, Message: fmt.Sprintf(format, args...)}
	f.mistakes = append(f.mistakes, f.locate(m, at))
}

// stray records a mistake where the key is not known; its value may be a secret under a misspelt name.
func (f *file) stray(path string, at *token.Token, format string, args ...any) {
	f.wrong(path, at, format, args...)
	m := &f.mistakes[len(f.mistakes)-1]
	if key, _, ok := strings.Cut(m.Source, ":"); ok {
		m.Source = key + ": …"
	}
}

func (f *file) locate(m Mistake, at *token.Token) Mistake {
	m.File = f.path
	if at == nil || at.Position == nil || at.Position.Line < 1 || at.Position.Line > len(f.lines) {
		return m
	}
	m.Line, m.Column = at.Position.Line, at.Position.Column
	m.Source = f.lines[m.Line-1]
	if (m.Key == "" || f.secrets[m.Key]) && !f.startsWithKey(m.Source) {
		m.Source = indent(m.Source) + hidden // may be the second line of a secret
	}
	m.Source = secretLine.ReplaceAllString(m.Source, "${1}"+hidden)
	m.Source = strings.ReplaceAll(strings.TrimRight(m.Source, "\r"), "\t", " ")
	return m
}

// startsWithKey reports whether the line begins with the name of a key or section.
func (f *file) startsWithKey(line string) bool {
	name, _, _ := strings.Cut(strings.TrimSpace(line), ":")
	return f.names[strings.Trim(name, `"'`)]
}

var secretLine = regexp.MustCompile(`^(.*?\b(?:jwt_hmac_secret|secret|password|dsn)["']?\s*:\s*)\S.*$`)

func indent(line string) string {
	return line[:len(line)-len(strings.TrimLeft(line, " \t"))]
}

func find[T any](list []T, is func(T) bool) (T, bool) {
	for _, item := range list {
		if is(item) {
			return item, true
		}
	}
	var none T
	return none, false
}

func names[T any](list []T, name func(T) string) string {
	all := make([]string, len(list))
	for i, item := range list {
		all[i] = name(item)
	}
	return strings.Join(all, ", ")
}
