package configs

import (
	_ "embed" // config.go, for its comments
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"slices"
	"strings"
)

const envPrefix = "HEARTH_"

// section is one of the maps at the top of the file, or a map in such a one.
type section struct {
	name  string // http
	path  string // the same, or heat.weights
	doc   string
	keys  []key
	inner []section // behind the keys
}

// key is one setting.
type key struct {
	name   string // addr
	path   string // http.addr
	env    string // HEARTH_HTTP_ADDR
	doc    string
	secret bool
	index  []int // for reflect.Value.FieldByIndex
}

// of is the key's field in c.
func (k key) of(c *Config) reflect.Value { return reflect.ValueOf(c).Elem().FieldByIndex(k.index) }

// sections lists every key there is, in the order of the struct, with the comments of config.go.
func sections() []section {
	return sectionsOf(reflect.TypeFor[Config](), "", nil, comments()).inner
}

// sectionsOf lists what a struct has: its fields that are structs are sections, the others keys.
func sectionsOf(t reflect.Type, path string, index []int, docs map[string]string) section {
	s := section{path: path}
	for i := range t.NumField() {
		field := t.Field(i)
		name := field.Tag.Get("yaml")
		doc, at := docs[t.Name()+"."+field.Name], append(slices.Clone(index), i)
		if field.Type.Kind() == reflect.Struct {
			inner := sectionsOf(field.Type, strings.TrimPrefix(path+"."+name, "."), at, docs)
			inner.name, inner.doc = name, doc
			s.inner = append(s.inner, inner)
			continue
		}
		s.keys = append(s.keys, key{
			name:   name,
			path:   path + "." + name,
			env:    envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_")+"_"+name),
			doc:    doc,
			secret: field.Type == reflect.TypeFor[Secret]() || field.Type == reflect.TypeFor[WebURL](),
			index:  at,
		})
	}
	return s
}

// keys is sections without the sections.
func keys() []key {
	var list []key
	for _, s := range allSections() {
		list = append(list, s.keys...)
	}
	return list
}

// allSections has inner ones behind those that they are in.
func allSections() []section {
	var list []section
	var add func([]section)
	add = func(some []section) {
		for _, s := range some {
			list = append(list, s)
			add(s.inner)
		}
	}
	add(sections())
	return list
}

//go:embed config.go
var configSource string

// comments reads the comment of every field out of config.go, by "Type.Field". Comments rather than a struct tag:
// they read well in the source and in go doc, and cannot differ from what the sample says.
func comments() map[string]string {
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", configSource, parser.ParseComments)
	if err != nil {
		panic("configs: embedded config.go does not parse: " + err.Error()) // it has been compiled
	}
	docs := make(map[string]string)
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		for _, field := range spec.Type.(*ast.StructType).Fields.List {
			docs[spec.Name.Name+"."+field.Names[0].Name] = strings.Join(strings.Fields(field.Doc.Text()), " ")
		}
		return false
	})
	return docs
}
