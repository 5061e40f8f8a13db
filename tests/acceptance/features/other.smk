rule imported:
    output: "imported.txt"
    shell: "echo module > {output}"
