package configs

import (
	_ "embed" // config.go, for its comments
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"
)

const envPrefix = "HEARTH_"

// section is one of the maps at the top of the file.
type section struct {
	name string // http
	doc  string
	keys []key
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
	docs := comments()
	var list []section
	config := reflect.TypeFor[Config]()
	for i := range config.NumField() {
		field := config.Field(i)
		s := section{name: field.Tag.Get("yaml"), doc: docs["Config."+field.Name]}
		for j := range field.Type.NumField() {
			leaf := field.Type.Field(j)
			name := leaf.Tag.Get("yaml")
			s.keys = append(s.keys, key{
				name:   name,
				path:   s.name + "." + name,
				env:    envPrefix + strings.ToUpper(s.name+"_"+name),
				doc:    docs[field.Type.Name()+"."+leaf.Name],
				secret: leaf.Type == reflect.TypeFor[Secret]() || leaf.Type == reflect.TypeFor[WebURL](),
				index:  []int{i, j},
			})
		}
		list = append(list, s)
	}
	return list
}

// keys is sections without the sections.
func keys() []key {
	var list []key
	for _, s := range sections() {
		list = append(list, s.keys...)
	}
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
