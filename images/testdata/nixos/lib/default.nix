# As much of nixpkgs' lib as vmctl's module and the tests' configurations touch: options,
# types, priorities, conditions and submodules, with nixpkgs' words for what is wrong.
let
  inherit (builtins) all any attrNames concatLists concatMap elem filter foldl' functionArgs genericClosure head
    intersectAttrs isAttrs isBool isFunction isInt isList isString length listToAttrs map mapAttrs sort tail toString typeOf;

  lib = {
    inherit types;
    mkOption = o: o // { _type = "option"; };
    mkOverride = priority: content: { _type = "override"; inherit priority content; };
    mkOptionDefault = lib.mkOverride 1500;
    mkDefault = lib.mkOverride 1000;
    mkImageMediaOverride = lib.mkOverride 60;
    mkForce = lib.mkOverride 50;
    mkVMOverride = lib.mkOverride 10;
    mkIf = condition: content: { _type = "if"; inherit condition content; };
    mkMerge = contents: { _type = "merge"; inherit contents; };
    mkOrder = priority: content: { _type = "order"; inherit priority content; };
    mkBefore = lib.mkOrder 500;
    mkAfter = lib.mkOrder 1500;
    literalExpression = text: { _type = "literalExpression"; inherit text; };
    genAttrs = names: f: listToAttrs (map (name: { inherit name; value = f name; }) names);
    optional = cond: x: if cond then [ x ] else [ ];
    optionalString = cond: s: if cond then s else "";
    optionalAttrs = cond: set: if cond then set else { };
    filterAttrs = f: set: listToAttrs (concatMap (name: if f name set.${name} then [{ inherit name; value = set.${name}; }] else [ ]) (attrNames set));
    mapAttrs' = f: set: listToAttrs (map (name: f name set.${name}) (attrNames set));
    nameValuePair = name: value: { inherit name value; };
    mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
    attrValues = builtins.attrValues;
    attrNames = builtins.attrNames;
    any = builtins.any;
    all = builtins.all;
    filter = builtins.filter;
    concatMap = builtins.concatMap;
    length = builtins.length;
    stringLength = builtins.stringLength;
    concatStringsSep = builtins.concatStringsSep;
    concatMapStringsSep = sep: f: list: builtins.concatStringsSep sep (map f list);
    hasPrefix = prefix: text: builtins.substring 0 (builtins.stringLength prefix) text == prefix;
    escapeShellArg = text: "'${builtins.replaceStrings [ "'" ] [ "'\\''" ] (toString text)}'";
    inherit evalModules;
  };

  kindOf = v: if isAttrs v then v._type or "" else "";
  dotted = builtins.concatStringsSep ".";
  show = v: if isString v then "\"${v}\"" else if isInt v || isBool v then builtins.toJSON v else "<${typeOf v}>";

  # One definition after another without conditions, merges and order.
  discharge = defs: concatMap
    (def:
      let again = value: discharge [ (def // { inherit value; }) ]; in
      {
        "if" = if def.value.condition then again def.value.content else [ ];
        merge = concatMap again def.value.contents;
        override = map (d: d // { priority = def.value.priority; }) (again def.value.content);
        order = map (d: d // { order = def.value.priority; }) (again def.value.content);
      }.${kindOf def.value} or [ ({ priority = 100; order = 1000; } // def) ])
    defs;
  strongest = defs:
    let least = foldl' (a: d: if d.priority < a then d.priority else a) 9999 defs;
    in { inherit least; defs = filter (d: d.priority == least) defs; };
  ordered = sort (a: b: a.order < b.order);

  mergeDefs = loc: type: defs:
    let
      chosen = strongest (discharge defs);
      wrong = filter (d: !(type.check d.value)) chosen.defs;
    in
    {
      inherit (chosen) least;
      empty = chosen.defs == [ ];
      value =
        if wrong != [ ] then
          throw "A definition for option `${dotted loc}' is not of type `${type.description}'. Definition values:\n${said wrong}"
        else type.merge loc (ordered chosen.defs);
    };
  said = defs: builtins.concatStringsSep "\n" (map (d: "- In `${d.file}': ${show d.value}") defs);

  one = loc: defs:
    if all (d: d.value == (head defs).value) (tail defs) then (head defs).value
    else throw "The option `${dotted loc}' has conflicting definition values:\n${said defs}";
  mkType = description: check: merge: { inherit description check merge; getSubOptions = _: { }; };
  mergeAny = loc: defs:
    if all (d: isAttrs d.value && !(d.value ? type)) defs then
      mapAttrs (name: _: (mergeDefs (loc ++ [ name ]) types.anything (named name defs)).value) (foldl' (a: d: a // d.value) { } defs)
    else if all (d: isList d.value) defs then concatMap (d: d.value) defs
    else one loc defs;
  named = name: defs: concatMap (d: if d.value ? ${name} then [{ inherit (d) file; value = d.value.${name}; }] else [ ]) defs;

  types = rec {
    str = mkType "string" isString one;
    bool = mkType "boolean" isBool one;
    int = mkType "signed integer" isInt one;
    port = mkType "16 bit unsigned integer; between 0 and 65535 (both inclusive)" (v: isInt v && v >= 0 && v < 65536) one;
    ints.positive = mkType "positive integer, meaning >0" (v: isInt v && v > 0) one;
    package = mkType "package" (v: isAttrs v) one;
    path = mkType "path" (v: isString v || typeOf v == "path") one;
    lines = mkType "strings concatenated with \"\\n\"" isString (_: defs: builtins.concatStringsSep "\n" (map (d: d.value) defs));
    unspecified = mkType "unspecified value" (_: true) mergeAny;
    anything = unspecified;
    raw = mkType "raw value" (_: true) one;
    attrs = mkType "attribute set" isAttrs (_: foldl' (a: d: a // d.value) { });
    enum = values: mkType "one of ${builtins.concatStringsSep ", " (map show values)}" (v: elem v values) one;
    nullOr = t: mkType "null or ${t.description}" (v: v == null || t.check v)
      (loc: defs: if all (d: d.value == null) defs then null else t.merge loc defs);
    either = a: b: mkType "${a.description} or ${b.description}" (v: a.check v || b.check v)
      (loc: defs: if all (d: a.check d.value) defs then a.merge loc defs else b.merge loc defs);
    listOf = t: mkType "list of ${t.description}" isList (loc: defs:
      concatMap (d: map (value: (mergeDefs loc t [{ inherit (d) file; inherit value; }]).value) d.value) defs);
    attrsOf = t: mkType "attribute set of ${t.description}" isAttrs (loc: defs:
      let
        merged = mapAttrs (name: _: mergeDefs (loc ++ [ name ]) t (named name defs)) (foldl' (a: d: a // d.value) { } defs);
      in
      mapAttrs (_: m: m.value) (lib.filterAttrs (_: m: !m.empty) merged)) // { inherit (t) getSubOptions; };
    lazyAttrsOf = attrsOf;
    submodule = module: mkType "submodule" (v: isAttrs v || isFunction v)
      (loc: defs: removeAttrs (evalModules {
        modules = [ module { config._module.name = lib.mkOptionDefault (builtins.elemAt loc (length loc - 1)); options._module.name = lib.mkOption { type = raw; }; } ]
          ++ map (d: { _file = d.file; config = d.value; }) defs;
        prefix = loc;
      }).config [ "_module" ]) // { getSubOptions = _: (evalModules { modules = [ module ]; }).options; };
  };

  evalModules = { modules, specialArgs ? { }, prefix ? [ ] }:
    let
      base = modules;
      baseArgs = specialArgs;
      args = specialArgs // {
        inherit lib config options;
        name = config._module.name or (builtins.elemAt (prefix ++ [ "" ]) (length prefix));
      };
      call = f: f (intersectAttrs (functionArgs f) args);
      # A module with what it is called, where it is, and what it imports.
      load = parent: n: m:
        let
          isPath = typeOf m == "path" || isString m;
          value = if isPath then import m else m;
          body = if isFunction value then call value else value;
          file = if isPath then toString m else body._file or parent;
          structured = body ? config || body ? options;
        in
        {
          key = body.key or (if isPath then toString m else "${parent}:anon-${toString n}");
          inherit file;
          options = if structured then body.options or { } else { };
          config = if structured then body.config or { } else removeAttrs body [ "_file" "key" "imports" ];
          imports = body.imports or [ ];
        };
      numbered = parent: list: builtins.genList (i: load parent i (builtins.elemAt list i)) (length list);
      loaded = genericClosure {
        startSet = numbered "<unknown-file>" modules;
        operator = m: numbered m.file m.imports;
      };

      # The options as a tree, and what defines each.
      declare = at: trees:
        let names = attrNames (foldl' (a: t: a // t.tree) { } trees); in
        lib.genAttrs names (name:
          let
            here = filter (t: t.tree ? ${name}) trees;
            loc = at ++ [ name ];
            first = (head here).tree.${name};
          in
          if kindOf first == "option" then
            (if length here > 1 then throw "The option `${dotted loc}' in `${(head (tail here)).file}' is already declared in `${(head here).file}'."
            else first // { inherit loc; declared = (head here).file; })
          else declare loc (map (t: { inherit (t) file; tree = t.tree.${name}; }) here));
      tree = declare prefix (map (m: { inherit (m) file; tree = m.options; }) loaded);

      # Conditions and priorities above an option move down to it.
      push = def:
        let v = def.value; under = wrap: concatMap (d: [ (d // { value = mapAttrs (_: wrap) d.value; }) ]) (push (def // { value = v.content; })); in
        {
          "if" = under (lib.mkIf v.condition);
          override = under (lib.mkOverride v.priority);
          order = under (lib.mkOrder v.priority);
          merge = concatMap (value: push (def // { inherit value; })) v.contents;
        }.${kindOf v} or [ def ];
      fill = at: tree: defs0:
        let
          defs = concatMap push defs0;
          unknown = concatMap (d: map (name: { inherit (d) file; inherit name; value = d.value.${name}; }) (filter (name: !(tree ? ${name})) (attrNames d.value))) defs;
          filled = mapAttrs
            (name: sub:
              if kindOf sub == "option" then
                let
                  all = named name defs ++ (if sub ? default then [{ file = sub.declared; value = lib.mkOptionDefault sub.default; }] else [ ]);
                  merged = mergeDefs sub.loc (sub.type or types.unspecified) all;
                  value = if merged.empty then throw "The option `${dotted sub.loc}' is used but not defined." else merged.value;
                in
                { option = sub // { highestPrio = merged.least; isDefined = !merged.empty; }; value = (sub.apply or (x: x)) value; }
              else fill (at ++ [ name ]) sub (named name defs))
            tree;
          deeper = concatMap (f: f.unknown or [ ]) (builtins.attrValues filled);
        in
        {
          unknown = map (u: "The option `${dotted (at ++ [ u.name ])}' does not exist. Definition values:\n- In `${u.file}': ${show u.value}") unknown ++ deeper;
          value = mapAttrs (_: f: f.value) filled;
          option = mapAttrs (_: f: f.option) filled;
        };
      whole = fill prefix tree (map (m: { inherit (m) file; value = m.config; }) loaded);
      options = whole.option;
      config = if whole.unknown != [ ] then throw (head whole.unknown) else whole.value;
    in
    {
      inherit options config lib;
      extendModules = { modules ? [ ], specialArgs ? { } }: evalModules {
        modules = base ++ modules;
        specialArgs = baseArgs // specialArgs;
        inherit prefix;
      };
    } // { _type = "configuration"; };
in
lib
